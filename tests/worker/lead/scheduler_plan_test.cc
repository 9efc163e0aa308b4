// What a plan holds: budget, order, spread over the micro-batches, admission.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/worker/lead/harness.h"

namespace octet::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(SchedulerPlan, PlansNothingWithoutSequences) {
  Harness h(roomy());
  EXPECT_FALSE(h.plan().has_value());
}

TEST(SchedulerPlan, GeneratesTheOracleTokensOfOneSequence) {
  Harness h(roomy());
  const NewSequence s = sequence(1, 10, 20);
  submit(h, s);
  h.run_to_end();
  EXPECT_EQ(h.received[1].tokens, expected_output(s, h.config));
  EXPECT_EQ(h.received[1].finish, FinishReason::kLength);
  EXPECT_EQ(h.scheduler.stats().free_blocks, h.config.num_blocks);
}

TEST(SchedulerPlan, ChunksAPrefillUnderTheTokenBudget) {
  Harness h(roomy());
  submit(h, sequence(1, 40));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 16)));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 16)));
  EXPECT_TRUE(h.received[1].tokens.empty());
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 8)));
  EXPECT_EQ(h.received[1].tokens.size(), 1);
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 1)));
}

TEST(SchedulerPlan, PlansDecodesThenRunningPrefillsThenNewcomers) {
  Harness h(roomy());
  submit(h, sequence(1, 15));
  submit(h, sequence(2, 20));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 15), Pair(2, 1)));
  submit(h, sequence(3, 4));
  NewSequence urgent = sequence(4, 10);
  urgent.priority = -1;
  submit(h, std::move(urgent));
  // A senior newcomer overtakes those that wait, not those that run.
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 1), Pair(2, 15)));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 1), Pair(2, 4), Pair(4, 10), Pair(3, 1)));
}

TEST(SchedulerPlan, AdmitsByPriorityThenArrival) {
  Harness h(roomy());
  const std::vector<int32_t> priorities = {1, 0, 1, -5, 0};
  for (size_t i = 0; i < priorities.size(); ++i) {
    NewSequence s = sequence(i + 1, 2);
    s.priority = priorities[i];
    submit(h, std::move(s));
  }
  EXPECT_THAT(admitted_in(*h.plan()), ElementsAre(4, 2, 5, 1, 3));
}

TEST(SchedulerPlan, NeverExceedsTheRunningLimit) {
  SchedulerConfig config = roomy();
  config.max_running_sequences = 2;
  Harness h(config);
  for (SequenceId id = 1; id <= 3; ++id) submit(h, sequence(id, 2, 3));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 2), Pair(2, 2)));
  EXPECT_EQ(h.scheduler.stats().running, 2);
  EXPECT_EQ(h.scheduler.stats().waiting, 1);
  h.run_to_end();
  EXPECT_EQ(h.received[3].tokens.size(), 3);
}

TEST(SchedulerPlan, SpreadsDecodesEvenlyOverTheMicroBatches) {
  SchedulerConfig config = roomy();
  config.max_micro_batches = 3;
  Harness h(config);
  for (SequenceId id = 1; id <= 7; ++id) submit(h, sequence(id, 2));
  step(h);
  std::set<SequenceId> seen;
  for (const size_t share : {3, 3, 1}) {
    const auto rows = rows_of(h.plan());
    EXPECT_EQ(rows.size(), share);
    for (const auto& [id, num_rows] : rows) EXPECT_TRUE(seen.insert(id).second) << "twice in flight: " << id;
  }
  EXPECT_FALSE(h.plan().has_value()) << "a fourth micro-batch in flight";
}

TEST(SchedulerPlan, PutsAllDecodesIntoTheOnlyMicroBatch) {
  Harness h(roomy());
  for (SequenceId id = 1; id <= 7; ++id) submit(h, sequence(id, 2));
  step(h);
  EXPECT_EQ(rows_of(h.plan()).size(), 7);
}

TEST(SchedulerPlan, EveryDecodeComesRoundEvenIfMicroBatchesAreUsedOneByOne) {
  SchedulerConfig config = roomy();
  config.max_micro_batches = 2;
  Harness h(config);
  for (SequenceId id = 1; id <= 4; ++id) submit(h, sequence(id, 2));
  step(h);
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 1), Pair(2, 1)));
  EXPECT_THAT(step(h), ElementsAre(Pair(3, 1), Pair(4, 1)));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 1), Pair(2, 1)));
}

TEST(SchedulerPlan, KeepsASequenceInOneMicroBatch) {
  SchedulerConfig config = roomy();
  config.max_micro_batches = 4;
  Harness h(config);
  submit(h, sequence(1, 100));
  submit(h, sequence(2, 100));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 16)));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(2, 16)));
  EXPECT_FALSE(h.plan().has_value());
  h.commit();
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 16)));
}

TEST(SchedulerPlan, AdmitsOnlyWhatTheFreeBlocksCoverWithOneTokenMore) {
  SchedulerConfig config = roomy();
  config.num_blocks = 5;
  config.max_batch_tokens = 4;
  Harness h(config);
  submit(h, sequence(1, 8, 4));  // 3 blocks with the next token, of which the first chunk takes 1
  submit(h, sequence(2, 8, 1));
  submit(h, sequence(3, 1, 1));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 4)));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 4)));
  // Two blocks are free after the decode's, the next in the queue needs 3, and no one overtakes it.
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 1)));
  EXPECT_EQ(h.scheduler.stats().waiting, 2);
  h.run_to_end();
  EXPECT_EQ(h.scheduler.stats().preemptions, 0);
  EXPECT_EQ(h.received[3].num_ends, 1);
}

TEST(SchedulerPlan, AdmitsNoOneIntoBlocksThatARunningPrefillWillNeed) {
  SchedulerConfig config = roomy();
  config.num_blocks = 12;
  config.max_micro_batches = 2;
  Harness in_flight(config);
  submit(in_flight, sequence(1, 40, 1));  // 11 blocks, of which the first chunk takes 4
  submit(in_flight, sequence(2, 8, 1));
  EXPECT_THAT(rows_of(in_flight.plan()), ElementsAre(Pair(1, 16)));
  EXPECT_FALSE(in_flight.plan().has_value());

  config.num_blocks = 3;
  Harness same_plan(config);
  submit(same_plan, sequence(1, 4, 2));  // 2 blocks, of which the prompt takes 1
  submit(same_plan, sequence(2, 4, 2));
  EXPECT_THAT(rows_of(same_plan.plan()), ElementsAre(Pair(1, 4)));
}

TEST(SchedulerPlan, KeepsAHundredthOfTheCacheFreeOfNewcomersWhileOthersRun) {
  SchedulerConfig config = roomy();
  config.num_blocks = 400;
  config.max_batch_tokens = 5000;
  config.max_model_len = 1600;
  Harness h(config);
  submit(h, sequence(1, 3, 1));            // 1 block
  submit(h, sequence(2, 395 * 4 - 1, 1));  // 395 blocks, which leaves 4
  submit(h, sequence(3, 1, 1));
  EXPECT_THAT(admitted_in(*h.plan()), ElementsAre(1, 2));
  h.commit();
  submit(h, sequence(4, 397 * 4, 1));  // 398 blocks with the next token
  EXPECT_THAT(admitted_in(*h.plan()), ElementsAre(3)) << "4 would leave 1";
  h.commit();
  EXPECT_THAT(admitted_in(*h.plan()), ElementsAre(4)) << "alone it may";
}

TEST(SchedulerPlan, RunsNoMoreSequencesThanAllMicroBatchesHaveRows) {
  SchedulerConfig config = roomy();
  config.max_batch_tokens = 3;
  config.max_micro_batches = 2;
  Harness h(config);
  submit(h, sequence(1, 1));
  step(h);
  SequenceId id = 2;
  for (const uint32_t num_prompt_tokens : {3, 4, 2, 1, 20, 20}) submit(h, sequence(id++, num_prompt_tokens));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 1), Pair(2, 2)));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(3, 3)));
  h.commit();
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 1), Pair(2, 1), Pair(4, 1)));
  h.commit();
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(3, 1), Pair(5, 1), Pair(6, 1)));
  h.commit();
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 1), Pair(4, 1))) << "six run, and 7 has to wait";
}

TEST(SchedulerPlan, ASequenceThatFillsTheWholeCacheRunsToItsEnd) {
  for (uint32_t num_blocks = 1; num_blocks <= 100; num_blocks += 33) {
    SchedulerConfig config = roomy();
    config.num_blocks = num_blocks;
    config.max_model_len = 1000;
    Harness h(config);
    for (SequenceId id = 1; id <= 3; ++id) submit(h, sequence(id, 1, num_blocks * 4 - 1));
    h.run_to_end();
    for (SequenceId id = 1; id <= 3; ++id) EXPECT_EQ(h.received[id].tokens.size(), num_blocks * 4 - 1);
  }
}

}  // namespace
}  // namespace octet::worker
