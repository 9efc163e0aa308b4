// One test for each promise of the scheduler.
#include "worker/lead/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <utility>

#include "tests/worker/lead/harness.h"

namespace octet::worker {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

SchedulerConfig roomy() {
  SchedulerConfig config;
  config.num_blocks = 1000;
  config.block_size = 4;
  config.max_batch_tokens = 16;
  config.max_model_len = 500;
  config.vocab_size = 1000;
  return config;
}

NewSequence sequence(SequenceId id, uint32_t num_prompt_tokens, uint32_t max_tokens = 100) {
  NewSequence s;
  s.id = id;
  for (uint32_t i = 0; i < num_prompt_tokens; ++i)
    s.prompt.push_back((static_cast<TokenId>(id) * 31 + i) % 1000);
  s.max_tokens = max_tokens;
  return s;
}

// (id, rows) of each chunk.
std::vector<std::pair<SequenceId, size_t>> rows_of(const std::optional<BatchPlan>& plan) {
  std::vector<std::pair<SequenceId, size_t>> rows;
  if (!plan.has_value()) return rows;
  for (const SequenceChunk& chunk : plan->chunks) rows.emplace_back(chunk.id, chunk.tokens.size());
  return rows;
}

std::vector<SequenceId> admitted_in(const BatchPlan& plan) {
  std::vector<SequenceId> ids;
  for (const AdmittedSequence& s : plan.admitted) ids.push_back(s.id);
  return ids;
}

void submit(Harness& h, NewSequence s) {
  const std::optional<Refusal> refusal = h.scheduler.submit(std::move(s));
  ASSERT_FALSE(refusal.has_value()) << refusal->message;
}

// Plans and commits one micro-batch.
std::vector<std::pair<SequenceId, size_t>> step(Harness& h) {
  const auto rows = rows_of(h.plan());
  if (!rows.empty()) h.commit();
  return rows;
}

TEST(Scheduler, PlansNothingWithoutSequences) {
  Harness h(roomy());
  EXPECT_FALSE(h.plan().has_value());
}

TEST(Scheduler, GeneratesTheOracleTokensOfOneSequence) {
  Harness h(roomy());
  const NewSequence s = sequence(1, 10, 20);
  submit(h, s);
  h.run_to_end();
  EXPECT_EQ(h.received[1].tokens, expected_output(s, h.config));
  EXPECT_EQ(h.received[1].finish, FinishReason::kLength);
  EXPECT_EQ(h.scheduler.stats().free_blocks, h.config.num_blocks);
}

TEST(Scheduler, ChunksAPrefillUnderTheTokenBudget) {
  Harness h(roomy());
  submit(h, sequence(1, 40));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 16)));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 16)));
  EXPECT_TRUE(h.received[1].tokens.empty());
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 8)));
  EXPECT_EQ(h.received[1].tokens.size(), 1);
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 1)));
}

TEST(Scheduler, PlansDecodesThenRunningPrefillsThenNewcomers) {
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

TEST(Scheduler, AdmitsByPriorityThenArrival) {
  Harness h(roomy());
  const std::vector<int32_t> priorities = {1, 0, 1, -5, 0};
  for (size_t i = 0; i < priorities.size(); ++i) {
    NewSequence s = sequence(i + 1, 2);
    s.priority = priorities[i];
    submit(h, std::move(s));
  }
  EXPECT_THAT(admitted_in(*h.plan()), ElementsAre(4, 2, 5, 1, 3));
}

TEST(Scheduler, NeverExceedsTheRunningLimit) {
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

TEST(Scheduler, SpreadsDecodesEvenlyOverTheMicroBatches) {
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

TEST(Scheduler, PutsAllDecodesIntoTheOnlyMicroBatch) {
  Harness h(roomy());
  for (SequenceId id = 1; id <= 7; ++id) submit(h, sequence(id, 2));
  step(h);
  EXPECT_EQ(rows_of(h.plan()).size(), 7);
}

TEST(Scheduler, EveryDecodeComesRoundEvenIfMicroBatchesAreUsedOneByOne) {
  SchedulerConfig config = roomy();
  config.max_micro_batches = 2;
  Harness h(config);
  for (SequenceId id = 1; id <= 4; ++id) submit(h, sequence(id, 2));
  step(h);
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 1), Pair(2, 1)));
  EXPECT_THAT(step(h), ElementsAre(Pair(3, 1), Pair(4, 1)));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 1), Pair(2, 1)));
}

TEST(Scheduler, KeepsASequenceInOneMicroBatch) {
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

TEST(Scheduler, AdmitsOnlyWhatTheFreeBlocksCoverWithOneTokenMore) {
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

TEST(Scheduler, AdmitsNoOneIntoBlocksThatARunningPrefillWillNeed) {
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

TEST(Scheduler, KeepsAHundredthOfTheCacheFreeOfNewcomersWhileOthersRun) {
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

TEST(Scheduler, RunsNoMoreSequencesThanAllMicroBatchesHaveRows) {
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

TEST(Scheduler, ASequenceThatFillsTheWholeCacheRunsToItsEnd) {
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

SchedulerConfig three_blocks() {
  SchedulerConfig config = roomy();
  config.num_blocks = 3;
  return config;
}

// Three sequences of one block each, in a cache of three.
void fill_cache(Harness& h) {
  for (SequenceId id = 1; id <= 3; ++id) submit(h, sequence(id, 2, 6));
}

TEST(Scheduler, PreemptsTheYoungestWhenBlocksRunOut) {
  Harness h(three_blocks());
  fill_cache(h);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(step(h).size(), 3);
  // The fifth token needs a second block each: 1 takes that of 3, and 2 has no junior left.
  const std::optional<BatchPlan> plan = h.plan();
  EXPECT_THAT(rows_of(plan), ElementsAre(Pair(1, 1)));
  EXPECT_THAT(plan->released, ElementsAre(3));
  EXPECT_EQ(h.scheduler.stats().preemptions, 1);
  EXPECT_EQ(h.scheduler.stats().running, 2);
  h.commit();
  h.run_to_end();
  for (SequenceId id = 1; id <= 3; ++id) {
    EXPECT_EQ(h.received[id].tokens, expected_output(sequence(id, 2, 6), h.config));
  }
}

TEST(Scheduler, AdmitsNoOneInAMicroBatchThatPreempts) {
  SchedulerConfig config = roomy();
  config.num_blocks = 6;
  Harness h(config);
  submit(h, sequence(1, 4, 8));
  submit(h, sequence(2, 15, 9));
  for (int i = 0; i < 4; ++i) step(h);
  NewSequence urgent = sequence(3, 2, 2);
  urgent.priority = -1;
  ASSERT_EQ(h.scheduler.stats().free_blocks, 0);
  step(h);
  submit(h, std::move(urgent));
  // 1 needs its third block and 2 its sixth. The blocks of 2 would hold 3, which has to wait for the next
  // step.
  const std::optional<BatchPlan> plan = h.plan();
  EXPECT_THAT(plan->released, ElementsAre(2));
  EXPECT_THAT(rows_of(plan), ElementsAre(Pair(1, 1)));
  h.commit();
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 1), Pair(3, 2)));
}

TEST(Scheduler, PreemptsTheLowestPriorityBeforeTheYoungest) {
  Harness h(three_blocks());
  NewSequence low = sequence(1, 2, 6);
  low.priority = 1;
  submit(h, std::move(low));
  submit(h, sequence(2, 2, 6));
  submit(h, sequence(3, 2, 6));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(step(h).size(), 3);
  const std::optional<BatchPlan> plan = h.plan();
  EXPECT_THAT(plan->released, ElementsAre(1));
  EXPECT_THAT(rows_of(plan), ElementsAre(Pair(2, 1)));
}

TEST(Scheduler, NeverPreemptsAnOlderSequence) {
  Harness h(three_blocks());
  submit(h, sequence(1, 1, 8));
  submit(h, sequence(2, 4, 8));
  step(h);
  // 2 takes the last free block; when 1 needs its second one, it gets that of 2.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(step(h).size(), 2);
  const std::optional<BatchPlan> plan = h.plan();
  EXPECT_THAT(plan->released, ElementsAre(2));
  EXPECT_THAT(rows_of(plan), ElementsAre(Pair(1, 1)));
  h.commit();
  // While 1 runs on, 2 waits, and 1 never loses its blocks.
  while (h.received[1].num_ends == 0) EXPECT_THAT(step(h), Not(IsEmpty()));
  EXPECT_EQ(h.scheduler.stats().preemptions, 1);
  h.run_to_end();
  EXPECT_EQ(h.received[2].tokens.size(), 8);
}

TEST(Scheduler, NeverPreemptsASequenceInFlight) {
  SchedulerConfig config = roomy();
  config.num_blocks = 2;
  config.max_micro_batches = 2;
  Harness h(config);
  submit(h, sequence(1, 3, 5));
  submit(h, sequence(2, 3, 5));
  step(h);
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 1)));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(2, 1)));
  h.commit();
  EXPECT_FALSE(h.plan().has_value()) << "1 needs the block of 2, which is in flight";
  EXPECT_EQ(h.scheduler.stats().preemptions, 0);
  h.commit();
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 1)));
  EXPECT_EQ(h.scheduler.stats().preemptions, 1);
}

TEST(Scheduler, ReadmitsAPreemptedSequenceFirstAndWithWhatItGenerated) {
  Harness h(three_blocks());
  fill_cache(h);
  submit(h, sequence(4, 1, 1));
  for (int i = 0; i < 4; ++i) step(h);
  ASSERT_EQ(h.received[3].tokens.size(), 3);
  std::optional<BatchPlan> plan;
  while ((plan = h.plan()).has_value() && plan->admitted.empty()) h.commit();
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->admitted.front().id, 3);
  EXPECT_EQ(plan->admitted.front().num_prompt_tokens, 2);
  std::vector<TokenId> tokens = sequence(3, 2).prompt;
  tokens.insert(tokens.end(), h.received[3].tokens.begin(), h.received[3].tokens.end());
  EXPECT_EQ(plan->admitted.front().tokens, tokens);
}

TEST(Scheduler, ReportsPromptLogprobsOnceAcrossPreemptions) {
  SchedulerConfig config = roomy();
  config.num_blocks = 8;
  config.max_batch_tokens = 6;
  Harness h(config);
  submit(h, sequence(1, 9, 20));
  NewSequence scored = sequence(2, 15, 10);
  scored.sampling.prompt_logprobs = 0;
  submit(h, scored);
  h.run_to_end();
  EXPECT_GT(h.scheduler.stats().preemptions, 0);
  ASSERT_EQ(h.received[2].prompt_logprobs.size(), 14);
  for (size_t i = 0; i < 14; ++i) EXPECT_EQ(h.received[2].prompt_logprobs[i].token, scored.prompt[i + 1]);
  EXPECT_EQ(h.received[2].tokens, expected_output(scored, h.config));
}

TEST(Scheduler, APromptOfOneTokenHasNoPromptLogprobs) {
  Harness h(roomy());
  NewSequence scored = sequence(1, 1, 3);
  scored.sampling.prompt_logprobs = 2;
  submit(h, std::move(scored));
  h.run_to_end();
  EXPECT_THAT(h.received[1].prompt_logprobs, IsEmpty());
  EXPECT_EQ(h.received[1].tokens.size(), 3);
}

TEST(Scheduler, EndsWithTheStopTokenItself) {
  Harness h(roomy());
  NewSequence s = sequence(1, 5, 50);
  const TokenId stop = expected_output(s, h.config)[6];
  s.stop_token_ids = {stop, 3};
  submit(h, std::move(s));
  h.run_to_end();
  EXPECT_EQ(h.received[1].tokens.size(), 7);
  EXPECT_EQ(h.received[1].tokens.back(), stop);
  EXPECT_EQ(h.received[1].finish, FinishReason::kStop);
}

TEST(Scheduler, EndsAtTheContextsEnd) {
  SchedulerConfig config = roomy();
  config.max_model_len = 12;
  Harness h(config);
  submit(h, sequence(1, 5, 50));
  h.run_to_end();
  EXPECT_EQ(h.received[1].tokens.size(), 7);
  EXPECT_EQ(h.received[1].finish, FinishReason::kLength);
}

TEST(Scheduler, ContinuesWhatWasGeneratedElsewhere) {
  Harness h(roomy());
  NewSequence s = sequence(1, 5, 20);
  const std::vector<TokenId> output = expected_output(s, h.config);
  s.generated.assign(output.begin(), output.begin() + 8);
  submit(h, std::move(s));
  EXPECT_EQ(h.scheduler.stats().outstanding_prompt_tokens, 5);
  h.run_to_end();
  EXPECT_EQ(h.received[1].tokens, std::vector<TokenId>(output.begin() + 8, output.end()));
}

TEST(Scheduler, EndsAtTheDeadlineEvenInFlight) {
  Harness h(roomy());
  NewSequence s = sequence(1, 5);
  s.deadline = h.now + seconds(10);
  submit(h, std::move(s));
  submit(h, sequence(2, 5));
  EXPECT_EQ(h.scheduler.next_deadline(), h.now + seconds(10));
  step(h);
  h.now += seconds(9);
  EXPECT_THAT(h.expire(), IsEmpty());
  h.plan();
  h.now += seconds(1);
  h.expire();
  EXPECT_EQ(h.received[1].finish, FinishReason::kDeadline);
  EXPECT_EQ(h.scheduler.next_deadline(), kNoDeadline);
  h.commit();
  EXPECT_EQ(h.received[1].tokens.size(), 1) << "the token in flight is dropped";
  EXPECT_EQ(h.received[2].tokens.size(), 2);
  EXPECT_THAT(h.plan()->released, ElementsAre(1));
}

TEST(Scheduler, PlansNoSequencePastItsDeadline) {
  Harness h(roomy());
  NewSequence s = sequence(1, 5);
  s.deadline = h.now + seconds(1);
  submit(h, std::move(s));
  s = sequence(2, 3);
  s.deadline = h.now + seconds(2);
  submit(h, std::move(s));
  s = sequence(3, 20);
  s.deadline = h.now + seconds(3);
  submit(h, std::move(s));
  submit(h, sequence(4, 5));
  h.now += seconds(1);
  EXPECT_THAT(step(h), ElementsAre(Pair(2, 3), Pair(3, 13)));
  h.now += seconds(1);
  EXPECT_THAT(step(h), ElementsAre(Pair(3, 7), Pair(4, 5)));
  h.now += seconds(1);
  EXPECT_THAT(step(h), ElementsAre(Pair(4, 1)));
}

TEST(Scheduler, ASequencePastItsDeadlinePreemptsNoOne) {
  Harness h(three_blocks());
  NewSequence s = sequence(1, 2, 6);
  s.deadline = h.now + seconds(1);
  submit(h, std::move(s));
  submit(h, sequence(2, 1, 6));
  submit(h, sequence(3, 1, 6));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(step(h).size(), 3);
  h.now += seconds(1);
  EXPECT_THAT(step(h), ElementsAre(Pair(2, 1), Pair(3, 1))) << "1 needs a second block";
  EXPECT_EQ(h.scheduler.stats().preemptions, 0);
}

TEST(Scheduler, CancelFreesBlocksAtOnceEvenInFlight) {
  SchedulerConfig config = roomy();
  config.max_micro_batches = 2;
  config.num_blocks = 4;
  Harness h(config);
  submit(h, sequence(1, 15, 1));
  submit(h, sequence(2, 15, 1));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 15)));
  EXPECT_EQ(h.scheduler.stats().free_blocks, 0);
  EXPECT_FALSE(h.plan().has_value());
  h.scheduler.cancel(1);
  EXPECT_EQ(h.scheduler.stats().free_blocks, 4);
  // Its blocks go to the next while its own plan is in flight.
  const std::optional<BatchPlan> plan = h.plan();
  EXPECT_THAT(rows_of(plan), ElementsAre(Pair(2, 15)));
  EXPECT_THAT(plan->released, ElementsAre(1));
  EXPECT_THAT(h.commit(), IsEmpty());
  h.commit();
  EXPECT_EQ(h.received[2].tokens.size(), 1);
  EXPECT_EQ(h.received.count(1), 0);
  EXPECT_EQ(h.scheduler.stats().free_blocks, 4);
}

TEST(Scheduler, CancelsAWaitingSequenceWithoutTellingTheStages) {
  Harness h(roomy());
  submit(h, sequence(1, 5));
  submit(h, sequence(2, 5));
  h.scheduler.cancel(1);
  h.scheduler.cancel(1);
  h.scheduler.cancel(77);
  const std::optional<BatchPlan> plan = h.plan();
  EXPECT_THAT(rows_of(plan), ElementsAre(Pair(2, 5)));
  EXPECT_THAT(plan->released, IsEmpty());
}

TEST(Scheduler, TellsTheStagesOfEveryEnd) {
  Harness h(roomy());
  for (SequenceId id = 1; id <= 5; ++id) submit(h, sequence(id, 3, static_cast<uint32_t>(id)));
  h.run_to_end();
  submit(h, sequence(6, 3, 1));
  h.run_to_end();
  EXPECT_EQ(h.stage.num_sequences(), 1) << "only the last one, which no plan could release";
}

TEST(Scheduler, FailsOnlyTheSequenceWhoseLogitsAreNotFinite) {
  Harness h(roomy());
  submit(h, sequence(1, 5, 8));
  submit(h, sequence(2, 5, 8));
  step(h);
  h.stage.poison(1);
  h.run_to_end();
  ASSERT_TRUE(h.received[1].failure.has_value());
  EXPECT_EQ(h.received[1].failure->kind, Refusal::Kind::kInternal);
  EXPECT_EQ(h.received[1].failure->message, "the model's logits hold NaN or infinity after 6 tokens");
  EXPECT_EQ(h.received[2].tokens.size(), 8);
  EXPECT_EQ(h.scheduler.stats().free_blocks, h.config.num_blocks);
}

TEST(Scheduler, ResetPrefillsEverySequenceAgainFromStepOne) {
  SchedulerConfig config = roomy();
  config.max_micro_batches = 2;
  config.max_batch_tokens = 24;
  Harness h(config);
  for (SequenceId id = 1; id <= 3; ++id) submit(h, sequence(id, 8, 10));
  for (int i = 0; i < 3; ++i) step(h);
  h.plan();
  h.plan();
  h.reset();
  const SchedulerStats stats = h.scheduler.stats();
  EXPECT_EQ(stats.free_blocks, config.num_blocks);
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.waiting, 3);
  EXPECT_EQ(stats.micro_batches_in_flight, 0);
  EXPECT_EQ(stats.outstanding_prompt_tokens, 24);
  EXPECT_EQ(stats.preemptions, 0);
  const std::optional<BatchPlan> plan = h.plan();
  EXPECT_EQ(plan->step, 1);
  EXPECT_THAT(admitted_in(*plan), ElementsAre(1, 2, 3));
  EXPECT_THAT(plan->released, IsEmpty());
  h.run_to_end();
  for (SequenceId id = 1; id <= 3; ++id) {
    EXPECT_EQ(h.received[id].tokens, expected_output(sequence(id, 8, 10), h.config));
  }
}

TEST(Scheduler, CountsOutstandingPromptTokens) {
  Harness h(roomy());
  submit(h, sequence(1, 20));
  submit(h, sequence(2, 10));
  EXPECT_EQ(h.scheduler.stats().outstanding_prompt_tokens, 30);
  h.plan();
  EXPECT_EQ(h.scheduler.stats().outstanding_prompt_tokens, 30);
  h.commit();
  EXPECT_EQ(h.scheduler.stats().outstanding_prompt_tokens, 14);
  h.scheduler.cancel(2);
  EXPECT_EQ(h.scheduler.stats().outstanding_prompt_tokens, 4);
  step(h);
  EXPECT_EQ(h.scheduler.stats().outstanding_prompt_tokens, 0);
}

// A result that is changed by `spoil` is refused with these words and changes nothing; the right one is taken
// after.
template <typename Spoil>
void expect_contradiction(const std::string& words, Spoil spoil) {
  Harness h(roomy());
  NewSequence scored = sequence(1, 4);
  scored.sampling.prompt_logprobs = 0;
  submit(h, std::move(scored));
  submit(h, sequence(2, 30));
  h.plan();
  StepResult result = h.results.front();
  spoil(result);
  const CommitOutcome outcome = h.scheduler.commit(result);
  ASSERT_TRUE(outcome.error.has_value()) << words;
  EXPECT_THAT(*outcome.error, HasSubstr(words));
  EXPECT_THAT(outcome.updates, IsEmpty());
  EXPECT_EQ(h.scheduler.stats().micro_batches_in_flight, 1);
  h.commit();
  EXPECT_EQ(h.received[1].tokens.size(), 1);
}

TEST(Scheduler, RefusesAResultThatContradictsThePlan) {
  expect_contradiction("a result of step 2, and the oldest in flight is 1",
                       [](StepResult& r) { r.step = 2; });
  expect_contradiction("step 1: out of memory", [](StepResult& r) { r.error = "out of memory"; });
  expect_contradiction("no sample of sequence 1", [](StepResult& r) { r.samples.clear(); });
  expect_contradiction("an unasked sample of sequence 2",
                       [](StepResult& r) { r.samples.emplace_back().id = 2; });
  expect_contradiction("a sample of sequence 9 where one of sequence 1 belongs",
                       [](StepResult& r) { r.samples[0].id = 9; });
  expect_contradiction("no token for sequence 1", [](StepResult& r) { r.samples[0].token.reset(); });
  expect_contradiction("token id 1000 for sequence 1 is outside the vocabulary of 1000",
                       [](StepResult& r) { r.samples[0].token->token = 1000; });
  expect_contradiction("2 prompt log-probabilities for sequence 1, not 3",
                       [](StepResult& r) { r.samples[0].prompt_logprobs.pop_back(); });
}

TEST(Scheduler, RefusesAResultWithNothingInFlight) {
  Scheduler scheduler(roomy());
  StepResult result;
  result.step = 1;
  EXPECT_EQ(scheduler.commit(result).error, "a result of step 1, and none is in flight");
}

TEST(Scheduler, RefusesATokenForAnUnfinishedPrefill) {
  Harness h(roomy());
  NewSequence scored = sequence(1, 30);
  scored.sampling.prompt_logprobs = 0;
  submit(h, std::move(scored));
  h.plan();
  StepResult result = h.results.front();
  result.samples[0].token.emplace();
  EXPECT_THAT(*h.scheduler.commit(result).error,
              HasSubstr("a token for the unfinished prefill of sequence 1"));
}

TEST(Scheduler, TakesThousandsOfWaitingSequencesAndLetsThemGo) {
  SchedulerConfig config = roomy();
  config.max_waiting_sequences = 20000;
  Harness h(config);
  for (SequenceId id = 1; id <= 20000; ++id) {
    NewSequence s = sequence(id, 1);
    s.deadline = h.now + seconds(static_cast<int>(id % 100) + 1);
    submit(h, std::move(s));
  }
  for (SequenceId id = 1; id <= 20000; id += 2) h.scheduler.cancel(id);
  step(h);
  h.now += seconds(1000);
  EXPECT_EQ(h.expire().size(), 10000);
  EXPECT_EQ(h.scheduler.stats().waiting, 0);
}

}  // namespace
}  // namespace octet::worker
