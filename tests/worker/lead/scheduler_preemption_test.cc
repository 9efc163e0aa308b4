// Who gives up its blocks to whom, and what becomes of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/worker/lead/harness.h"

namespace octet::worker {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

SchedulerConfig three_blocks() {
  SchedulerConfig config = roomy();
  config.num_blocks = 3;
  return config;
}

// Three sequences of one block each, in a cache of three.
void fill_cache(Harness& h) {
  for (SequenceId id = 1; id <= 3; ++id) submit(h, sequence(id, 2, 6));
}

TEST(SchedulerPreemption, PreemptsTheYoungestWhenBlocksRunOut) {
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

TEST(SchedulerPreemption, AdmitsNoOneInAMicroBatchThatPreempts) {
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

TEST(SchedulerPreemption, PreemptsTheLowestPriorityBeforeTheYoungest) {
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

TEST(SchedulerPreemption, NeverPreemptsAnOlderSequence) {
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

TEST(SchedulerPreemption, NeverPreemptsASequenceInFlight) {
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

TEST(SchedulerPreemption, ASequencePastItsDeadlinePreemptsNoOne) {
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

TEST(SchedulerPreemption, ReadmitsAPreemptedSequenceFirstAndWithWhatItGenerated) {
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

TEST(SchedulerPreemption, ReportsPromptLogprobsOnceAcrossPreemptions) {
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

TEST(SchedulerPreemption, APromptOfOneTokenHasNoPromptLogprobs) {
  Harness h(roomy());
  NewSequence scored = sequence(1, 1, 3);
  scored.sampling.prompt_logprobs = 2;
  submit(h, std::move(scored));
  h.run_to_end();
  EXPECT_THAT(h.received[1].prompt_logprobs, IsEmpty());
  EXPECT_EQ(h.received[1].tokens.size(), 3);
}

}  // namespace
}  // namespace octet::worker
