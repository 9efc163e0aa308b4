// Which blocks a sequence shares with others, and which it computes itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/prefix_hash.h"
#include "tests/worker/lead/harness.h"

namespace octet::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// Blocks of 4 tokens, 16 rows; the same prompt for every id.
NewSequence same_prompt(SequenceId id, uint32_t num_prompt_tokens, uint32_t max_tokens = 4) {
  NewSequence s = sequence(0, num_prompt_tokens, max_tokens);
  s.id = id;
  return s;
}

// As the last news told of each sequence.
uint32_t cached_tokens(const std::vector<SequenceUpdate>& updates, SequenceId id) {
  uint32_t num_tokens = 0;
  for (const SequenceUpdate& update : updates) {
    if (update.id == id) num_tokens += update.num_cached_tokens;
  }
  return num_tokens;
}

TEST(SchedulerPrefix, ASequenceSharesTheFullBlocksOfOneThatEnded) {
  Harness h(roomy());
  submit(h, same_prompt(1, 10));
  h.run_to_end();
  submit(h, same_prompt(2, 10));
  const std::optional<BatchPlan> plan = h.plan();
  EXPECT_EQ(plan->admitted.front().cached_blocks.size(), 2);
  EXPECT_EQ(plan->chunks.front().start_position, 8);
  EXPECT_THAT(rows_of(plan), ElementsAre(Pair(2, 2)));
  EXPECT_EQ(cached_tokens(h.commit(), 2), 8);
  EXPECT_EQ(cached_tokens((h.plan(), h.commit()), 2), 0) << "told once";
  h.run_to_end();
  EXPECT_EQ(h.received[2].tokens, h.received[1].tokens);
  const SchedulerStats stats = h.scheduler.stats();
  EXPECT_EQ(stats.prefix_query_tokens, 20);
  EXPECT_EQ(stats.prefix_hit_tokens, 8);
  EXPECT_EQ(stats.prefix_evictions, 0);
  EXPECT_EQ(stats.free_blocks, h.config.num_blocks);
}

TEST(SchedulerPrefix, APromptThatIsAllThereComputesItsLastBlockAgain) {
  Harness h(roomy());
  submit(h, same_prompt(1, 12));
  h.run_to_end();
  submit(h, same_prompt(2, 12));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(2, 4)));
  h.commit();
  h.run_to_end();
  EXPECT_EQ(h.received[2].tokens, h.received[1].tokens);
}

TEST(SchedulerPrefix, ChoicesAdmittedTogetherComputeTheirPromptOnce) {
  Harness h(roomy());
  for (SequenceId id = 1; id <= 4; ++id) submit(h, same_prompt(id, 9));
  const std::optional<BatchPlan> plan = h.plan();
  EXPECT_THAT(rows_of(plan), ElementsAre(Pair(1, 9), Pair(2, 1), Pair(3, 1), Pair(4, 1)));
  EXPECT_EQ(h.config.num_blocks - h.scheduler.stats().free_blocks, 2 + 4);
  h.commit();
  h.run_to_end();
  for (SequenceId id = 1; id <= 4; ++id) {
    EXPECT_EQ(h.received[id].tokens, expected_output(same_prompt(id, 9), h.config));
  }
}

TEST(SchedulerPrefix, WhatIsNotPlannedYetIsNotShared) {
  Harness h(roomy());
  submit(h, same_prompt(1, 30));
  submit(h, same_prompt(2, 30));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 16)));
  EXPECT_THAT(step(h), ElementsAre(Pair(1, 14), Pair(2, 2)))
      << "2 shares 7 blocks, of which 3 are of this plan";
  h.run_to_end();
  EXPECT_EQ(h.received[2].tokens, h.received[1].tokens);
}

TEST(SchedulerPrefix, ANewcomerWaitsForBlocksThatAPrefillIsAboutToCompute) {
  SchedulerConfig config = roomy();
  config.max_micro_batches = 3;
  Harness h(config);
  submit(h, same_prompt(1, 30));
  submit(h, same_prompt(2, 30));
  submit(h, sequence(3, 8));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 16)));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(3, 8))) << "overtakes 2, which waits for 1";
  EXPECT_FALSE(h.plan().has_value());
  h.commit();
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 14), Pair(2, 2)));
  h.commit();
  h.run_to_end();
  EXPECT_EQ(h.received[2].tokens, h.received[1].tokens);
}

TEST(SchedulerPrefix, ANewcomerWaitsNoLongerWhenThePrefillIsGone) {
  SchedulerConfig config = roomy();
  config.max_micro_batches = 3;
  Harness h(config);
  submit(h, same_prompt(1, 30));
  submit(h, same_prompt(2, 30));
  h.plan();
  EXPECT_FALSE(h.plan().has_value());
  h.scheduler.cancel(1);
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(2, 14))) << "after the 16 tokens in flight";
  h.commit();
  h.commit();
  h.run_to_end();
  EXPECT_EQ(h.received[2].num_ends, 1);
}

TEST(SchedulerPrefix, ALaterTurnSharesWhatWasGenerated) {
  Harness h(roomy());
  NewSequence first = same_prompt(1, 6, 7);
  submit(h, first);
  h.run_to_end();
  NewSequence second = same_prompt(2, 6, 3);
  const std::vector<TokenId> answer = expected_output(first, h.config);
  second.prompt.insert(second.prompt.end(), answer.begin(), answer.end());
  second.prompt.insert(second.prompt.end(), {5, 6, 7});
  submit(h, second);
  // 13 tokens were known, of which 12 were computed.
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(2, 4)));
  EXPECT_EQ(cached_tokens(h.commit(), 2), 12);
  h.run_to_end();
  EXPECT_EQ(h.received[2].tokens, expected_output(second, h.config));
}

TEST(SchedulerPrefix, AMovedSequenceCountsCachedTokensOfItsPromptOnly) {
  Harness h(roomy());
  NewSequence first = same_prompt(1, 6, 12);
  submit(h, first);
  h.run_to_end();
  NewSequence moved = same_prompt(2, 6, 12);
  const std::vector<TokenId> output = expected_output(first, h.config);
  moved.generated.assign(output.begin(), output.begin() + 8);
  submit(h, moved);
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(2, 2)));
  EXPECT_EQ(cached_tokens(h.commit(), 2), 6);
}

TEST(SchedulerPrefix, AllPromptLogprobsAreComputed) {
  Harness h(roomy());
  submit(h, same_prompt(1, 10));
  h.run_to_end();
  NewSequence scored = same_prompt(2, 10);
  scored.sampling.prompt_logprobs = 0;
  submit(h, scored);
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(2, 10)));
  EXPECT_EQ(cached_tokens(h.commit(), 2), 0);
  ASSERT_EQ(h.received[2].prompt_logprobs.size(), 9);
  h.run_to_end();
  EXPECT_EQ(h.received[2].tokens, h.received[1].tokens);
}

TEST(SchedulerPrefix, AfterAPreemptionOnlyUnreportedPromptLogprobsAreComputed) {
  SchedulerConfig config = roomy();
  config.num_blocks = 10;
  config.max_batch_tokens = 6;
  Harness h(config);
  submit(h, sequence(1, 9, 22));
  NewSequence scored = sequence(2, 15, 10);
  scored.sampling.prompt_logprobs = 0;
  submit(h, scored);
  std::vector<size_t> num_cached;
  while (h.received[1].num_ends == 0 || h.received[2].num_ends == 0) {
    const std::optional<BatchPlan> plan = h.plan();
    ASSERT_TRUE(plan.has_value());
    for (const AdmittedSequence& s : plan->admitted) {
      if (s.id == 2) num_cached.push_back(s.cached_blocks.size());
    }
    h.commit();
  }
  EXPECT_GT(h.scheduler.stats().preemptions, 0);
  ASSERT_EQ(num_cached.size(), 2);
  EXPECT_EQ(num_cached[0], 0);
  EXPECT_GT(num_cached[1], 0);
  EXPECT_EQ(h.received[2].prompt_logprobs.size(), 14);
  EXPECT_EQ(h.received[2].tokens, expected_output(scored, h.config));
}

TEST(SchedulerPrefix, SequencesOfOtherSaltsShareNothing) {
  Harness h(roomy());
  SequenceId id = 0;
  for (const std::string salt : {"", "a", "b"}) {
    NewSequence s = same_prompt(++id, 10);
    s.cache_salt = salt;
    submit(h, std::move(s));
    EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(id, 10))) << salt;
    h.commit();
    h.run_to_end();
  }
  NewSequence s = same_prompt(++id, 10);
  s.cache_salt = "a";
  submit(h, std::move(s));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(id, 2)));
}

TEST(SchedulerPrefix, SharesNothingWhenItIsOff) {
  SchedulerConfig config = roomy();
  config.prefix_cache = false;
  Harness h(config);
  for (SequenceId id = 1; id <= 2; ++id) {
    submit(h, same_prompt(id, 10));
    EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(id, 10)));
    h.commit();
    h.run_to_end();
  }
  EXPECT_EQ(h.scheduler.stats().prefix_query_tokens, 0);
}

TEST(SchedulerPrefix, SharesWhatACancelledSequenceHasInFlight) {
  SchedulerConfig config = roomy();
  config.max_micro_batches = 2;
  Harness h(config);
  submit(h, same_prompt(1, 10));
  h.plan();
  h.scheduler.cancel(1);
  submit(h, same_prompt(2, 10));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(2, 2)));
  h.commit();
  h.commit();
  h.run_to_end();
  EXPECT_EQ(h.received[2].tokens, expected_output(same_prompt(2, 10), h.config));
}

TEST(SchedulerPrefix, ANewEpochStartsWithoutContents) {
  Harness h(roomy());
  submit(h, same_prompt(1, 10));
  h.run_to_end();
  h.reset();
  submit(h, same_prompt(2, 10));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(2, 10)));
}

TEST(SchedulerPrefix, NothingOfASequenceWithoutFiniteLogitsIsShared) {
  Harness h(roomy());
  h.stage.poison(1);
  submit(h, same_prompt(1, 10));
  h.run_to_end();
  ASSERT_TRUE(h.received[1].failure.has_value());
  submit(h, same_prompt(2, 10));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(2, 10)));
}

TEST(SchedulerPrefix, APreemptedSequenceFindsTheBlocksThatNobodyTook) {
  SchedulerConfig config = roomy();
  config.num_blocks = 8;
  Harness h(config);
  submit(h, sequence(1, 13, 6));
  submit(h, sequence(2, 14, 6));
  for (int i = 0; i < 5; ++i) step(h);
  ASSERT_EQ(h.scheduler.stats().preemptions, 1);
  std::optional<BatchPlan> plan;
  while ((plan = h.plan()).has_value() && plan->admitted.empty()) h.commit();
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->admitted.front().id, 2);
  EXPECT_EQ(plan->admitted.front().cached_blocks.size(), 3) << "1 took one of its 4";
  h.commit();
  h.run_to_end();
  EXPECT_EQ(h.received[2].tokens, expected_output(sequence(2, 14, 6), h.config));
  EXPECT_EQ(h.scheduler.stats().prefix_hit_tokens, 0) << "first admissions only";
}

TEST(SchedulerPrefix, BlocksThatOthersHoldNeedNotBeFree) {
  SchedulerConfig config = roomy();
  config.num_blocks = 5;
  Harness h(config);
  submit(h, same_prompt(1, 14, 3));  // 4 blocks, of which 3 are full
  submit(h, same_prompt(2, 14, 2));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 14), Pair(2, 2)));
  EXPECT_EQ(h.scheduler.stats().free_blocks, 0);
  h.commit();
  h.run_to_end();
  EXPECT_EQ(h.received[2].tokens, expected_output(same_prompt(2, 14, 2), h.config));
}

TEST(SchedulerPrefix, PreemptsUntilABlockIsFree) {
  SchedulerConfig config = roomy();
  config.num_blocks = 5;
  config.max_micro_batches = 2;
  Harness h(config);
  NewSequence first = sequence(1, 3, 10);
  first.priority = -1;
  NewSequence low = same_prompt(2, 8, 8);
  low.priority = 1;
  submit(h, first);
  step(h);
  submit(h, low);
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 1), Pair(2, 8)));
  submit(h, same_prompt(3, 9, 8));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(3, 1))) << "shares both blocks of 2";
  h.commit();
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(1, 1))) << "takes the last free block, so 2 has to wait";
  h.commit();
  h.commit();
  for (int i = 0; i < 3; ++i) EXPECT_THAT(step(h), UnorderedElementsAre(Pair(1, 1), Pair(3, 1)));
  // 2 has no block of its own to give, so 3 has to go too.
  const std::optional<BatchPlan> plan = h.plan();
  EXPECT_THAT(rows_of(plan), ElementsAre(Pair(1, 1)));
  EXPECT_THAT(plan->released, ElementsAre(2, 3));
  h.commit();
  h.run_to_end();
  EXPECT_EQ(h.received[1].tokens, expected_output(first, h.config));
  EXPECT_EQ(h.received[2].tokens, expected_output(low, h.config));
}

TEST(SchedulerPrefix, MakesRoomByTheOldestContentsAndCountsThem) {
  SchedulerConfig config = roomy();
  config.num_blocks = 6;
  Harness h(config);
  submit(h, sequence(1, 9, 1));
  h.run_to_end();
  submit(h, sequence(2, 9, 1));
  h.run_to_end();
  submit(h, sequence(3, 9, 1));  // takes the 2 empty blocks, and the end of the prefix of 1
  h.run_to_end();
  EXPECT_EQ(h.scheduler.stats().prefix_evictions, 1);
  NewSequence again = sequence(1, 9, 1);
  again.id = 4;
  submit(h, std::move(again));
  EXPECT_THAT(rows_of(h.plan()), ElementsAre(Pair(4, 5)));
  h.commit();
}

TEST(SchedulerPrefix, TellsItsObserverTheNamesThatRoutersCompute) {
  struct Names : PrefixObserver {
    void on_added(uint64_t prefix) override { all.push_back(prefix); }
    void on_removed(uint64_t) override {}
    void on_cleared() override { all.clear(); }
    std::vector<uint64_t> all;
  } names;
  Scheduler scheduler(roomy(), &names);
  NewSequence s = same_prompt(1, 10);
  s.cache_salt = "tenant";
  const std::vector<uint64_t> expected = prefix_hashes("tenant", s.prompt, 4);
  ASSERT_FALSE(scheduler.submit(std::move(s)).has_value());
  scheduler.schedule(Time{});
  EXPECT_EQ(names.all, expected);
  scheduler.reset();
  EXPECT_THAT(names.all, IsEmpty());
}

TEST(SchedulerPrefix, RefusesASaltThatIsTooLong) {
  Scheduler scheduler(roomy());
  NewSequence s = same_prompt(1, 3);
  s.cache_salt = std::string(kMaxCacheSaltBytes, 'x');
  EXPECT_FALSE(scheduler.submit(s).has_value());
  s.id = 2;
  s.cache_salt += 'x';
  EXPECT_EQ(scheduler.submit(s)->message, "cache_salt: at most 128 bytes, given 129");
}

}  // namespace
}  // namespace octet::worker
