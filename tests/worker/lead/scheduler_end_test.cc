// How sequences end, what results are refused, and a new epoch.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/worker/lead/harness.h"

namespace octet::worker {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(SchedulerEnd, EndsWithTheStopTokenItself) {
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

TEST(SchedulerEnd, EndsAtTheContextsEnd) {
  SchedulerConfig config = roomy();
  config.max_model_len = 12;
  Harness h(config);
  submit(h, sequence(1, 5, 50));
  h.run_to_end();
  EXPECT_EQ(h.received[1].tokens.size(), 7);
  EXPECT_EQ(h.received[1].finish, FinishReason::kLength);
}

TEST(SchedulerEnd, ContinuesWhatWasGeneratedElsewhere) {
  Harness h(roomy());
  NewSequence s = sequence(1, 5, 20);
  const std::vector<TokenId> output = expected_output(s, h.config);
  s.generated.assign(output.begin(), output.begin() + 8);
  submit(h, std::move(s));
  EXPECT_EQ(h.scheduler.stats().outstanding_prompt_tokens, 5);
  h.run_to_end();
  EXPECT_EQ(h.received[1].tokens, std::vector<TokenId>(output.begin() + 8, output.end()));
}

TEST(SchedulerEnd, EndsAtTheDeadlineEvenInFlight) {
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

TEST(SchedulerEnd, PlansNoSequencePastItsDeadline) {
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

TEST(SchedulerEnd, CancelFreesBlocksAtOnceEvenInFlight) {
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

TEST(SchedulerEnd, CancelsAWaitingSequenceWithoutTellingTheStages) {
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

TEST(SchedulerEnd, TellsTheStagesOfEveryEnd) {
  Harness h(roomy());
  for (SequenceId id = 1; id <= 5; ++id) submit(h, sequence(id, 3, static_cast<uint32_t>(id)));
  h.run_to_end();
  submit(h, sequence(6, 3, 1));
  h.run_to_end();
  EXPECT_EQ(h.stage.num_sequences(), 1) << "only the last one, which no plan could release";
}

TEST(SchedulerEnd, RefusesOnlyTheSequenceWhoseConstraintLetsNoTokenFollow) {
  Harness h(roomy());
  submit(h, sequence(1, 5, 8));
  submit(h, sequence(2, 5, 8));
  step(h);
  h.stage.refuse(1);
  h.run_to_end();
  ASSERT_TRUE(h.received[1].failure.has_value());
  EXPECT_EQ(h.received[1].failure->kind, Refusal::Kind::kInvalid);
  EXPECT_EQ(h.received[1].failure->message, "structured output: no token of the vocabulary can follow");
  EXPECT_EQ(h.received[2].tokens.size(), 8);
  EXPECT_EQ(h.scheduler.stats().free_blocks, h.config.num_blocks);
}

TEST(SchedulerEnd, FailsOnlyTheSequenceWhoseLogitsAreNotFinite) {
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

TEST(SchedulerEnd, ResetPrefillsEverySequenceAgainFromStepOne) {
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

TEST(SchedulerEnd, CountsOutstandingPromptTokens) {
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

TEST(SchedulerEnd, RefusesAResultThatContradictsThePlan) {
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

TEST(SchedulerEnd, RefusesAResultWithNothingInFlight) {
  Scheduler scheduler(roomy());
  StepResult result;
  result.step = 1;
  EXPECT_EQ(scheduler.commit(result).error, "a result of step 1, and none is in flight");
}

TEST(SchedulerEnd, RefusesATokenForAnUnfinishedPrefill) {
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

TEST(SchedulerEnd, TakesThousandsOfWaitingSequencesAndLetsThemGo) {
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
