// Requests whose pipelines are lost, drain or fail them: they go on elsewhere as if nothing had happened.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/router/generation/generator_fixture.h"

namespace octet::router {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class MovingRequestsTest : public PipelineGeneratorTest {
 protected:
  MovingRequestsTest() {
    limits_.max_sequences = 100;
    limits_.max_requests = 100;
    limits_.moves.backoff = {.min = milliseconds(2), .max = milliseconds(10)};
  }
  double moves(const std::string& reason) { return counted("octet_moves_total", reason); }
  double given_up(const std::string& reason) { return counted("octet_moves_given_up_total", reason); }
  const v1::StartSequence& sent(size_t i) const { return pipelines_.sequences.at(i).start; }
  bool runs(size_t i) const { return pipelines_.sequences.at(i).events != nullptr; }
  // Turns the loop until the i-th sequence was sent.
  void await_sent(size_t i) {
    const Time deadline = now() + std::chrono::seconds(30);
    while (pipelines_.sequences.size() <= i && now() < deadline) {
      loop_.restart();
      loop_.run_one_for(milliseconds(10));
    }
    ASSERT_GT(pipelines_.sequences.size(), i);
  }
};

TEST_F(MovingRequestsTest, GoesOnWithTheTokensThatItHas) {
  request_.max_tokens = 10;
  request_.min_tokens = 4;
  request_.logprobs = 0;
  request_.tenant.name = "tenant";
  start();
  const auto tokens = tokens_of(" Shall I compare");
  pipelines_.send_tokens(0, tokens);
  pipelines_.pipeline = 2;
  pipelines_.lose(0);
  turn();
  ASSERT_THAT(pipelines_.sequences, SizeIs(2));
  EXPECT_EQ(pipelines_.sequences[1].pipeline, 2U);
  EXPECT_EQ(pipelines_.asked, (FakePipelines::Asked{1, tokens.size(), 0}));
  v1::StartSequence expected = sent(0);
  expected.mutable_generated_tokens()->Add(tokens.begin(), tokens.end());
  expected.set_sequence_id(1);
  EXPECT_EQ(sent(1).SerializeAsString(), expected.SerializeAsString());
  pipelines_.send_tokens(1, tokens_of(" thee"));
  pipelines_.send_tokens(1, {end_of_turn()}, v1::FINISH_REASON_STOP);
  EXPECT_EQ(sink_->text(0), " Shall I compare thee");
  EXPECT_EQ(sink_->finish(0), FinishReason::kStop);
  EXPECT_EQ(sink_->usage->completion_tokens, tokens.size() + tokens_of(" thee").size() + 1);
  EXPECT_EQ(moves("lost"), 1);
  EXPECT_EQ(metrics_.prompt_tokens.Value(), static_cast<double>(request_.prompt.size())) << "counted once";
  expect_nothing_in_flight();
}

TEST_F(MovingRequestsTest, StopStringMayBeginBeforeAMoveAndEndAfterIt) {
  request_.stop = {"compare thee"};
  start();
  pipelines_.send_tokens(0, tokens_of(" Shall I compare"));
  pipelines_.lose(0);
  turn();
  pipelines_.send_tokens(1, tokens_of(" thee"));
  EXPECT_EQ(sink_->text(0), " Shall I ");
  EXPECT_EQ(sink_->pieces.back().stop_reason, "compare thee");
  EXPECT_TRUE(pipelines_.sequences[1].cancelled);
  expect_nothing_in_flight();
}

TEST_F(MovingRequestsTest, EachChoiceMovesAlone) {
  request_.num_choices = 3;
  start();
  for (size_t i = 0; i < 3; ++i) pipelines_.send_tokens(i, tokens_of(" a"));
  pipelines_.send_tokens(2, {}, v1::FINISH_REASON_LENGTH);
  pipelines_.lose(1);
  turn();
  ASSERT_THAT(pipelines_.sequences, SizeIs(4));
  EXPECT_EQ(sent(3).sampling().choice_index(), 1U);
  EXPECT_EQ(sent(3).sampling().seed(), sent(1).sampling().seed());
  EXPECT_TRUE(runs(0));
  pipelines_.send_tokens(0, tokens_of(" b"), v1::FINISH_REASON_LENGTH);
  EXPECT_FALSE(sink_->ended());
  pipelines_.send_tokens(3, tokens_of(" c"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(sink_->text(0), " a b");
  EXPECT_EQ(sink_->text(1), " a c");
  EXPECT_EQ(sink_->text(2), " a");
  EXPECT_TRUE(sink_->usage);
  expect_nothing_in_flight();
}

TEST_F(MovingRequestsTest, PromptThatIsScoredInPartIsScoredAgainAndToldOnce) {
  request_.prompt = {10, 11, 12};
  request_.prompt_logprobs = 0;
  start();
  v1::SequenceOutput part;
  part.add_prompt_logprobs()->set_token_id(11);
  pipelines_.send(0, part);
  pipelines_.lose(0);
  turn();
  EXPECT_TRUE(sent(1).sampling().has_prompt_logprobs());
  v1::SequenceOutput whole;
  whole.add_prompt_logprobs()->set_token_id(11);
  whole.add_prompt_logprobs()->set_token_id(12);
  whole.add_tokens()->set_token_id(20);
  pipelines_.send(1, whole);
  EXPECT_THAT(*sink_->prompt_logprobs, SizeIs(2));
  pipelines_.lose(1);
  turn();
  EXPECT_FALSE(sent(2).sampling().has_prompt_logprobs()) << "the client has them";
  EXPECT_THAT(sent(2).generated_tokens(), ElementsAre(20));
  pipelines_.send_tokens(2, {21}, v1::FINISH_REASON_LENGTH);
  EXPECT_TRUE(sink_->usage);
}

TEST_F(MovingRequestsTest, UsageTellsWhatTheFirstPipelineHadCached) {
  start();
  v1::SequenceOutput output;
  output.add_tokens()->set_token_id(20);
  pipelines_.send(0, output);
  pipelines_.lose(0);
  turn();
  output.set_cached_tokens(1);
  pipelines_.send(1, output);
  pipelines_.send_tokens(1, {}, v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(sink_->usage->cached_tokens, 0U);
}

TEST_F(MovingRequestsTest, UsageTellsWhatTheSecondPipelineHadCachedWhenTheFirstSaidNothing) {
  start();
  pipelines_.lose(0);
  turn();
  v1::SequenceOutput output;
  output.add_tokens()->set_token_id(20);
  output.set_cached_tokens(1);
  pipelines_.send(1, output);
  pipelines_.send_tokens(1, {}, v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(sink_->usage->cached_tokens, 1U);
}

TEST_F(MovingRequestsTest, WhatMovesGoesBeforeNewcomersAndByAge) {
  pipelines_.room = 2;
  start();
  const auto second = std::make_shared<RecordingSink>();
  generator().start(request_, second);
  request_.priority = -1;
  generator().start(request_, std::make_shared<RecordingSink>());  // waits
  turn();
  ASSERT_THAT(pipelines_.sequences, SizeIs(2));
  pipelines_.room = 1;
  pipelines_.lose(1);
  pipelines_.lose(0);
  turn();
  ASSERT_THAT(pipelines_.sequences, SizeIs(3)) << "the first, and room for no more";
  generator().start(request_, std::make_shared<RecordingSink>());
  turn();
  ASSERT_THAT(pipelines_.sequences, SizeIs(3));
  pipelines_.send_tokens(2, tokens_of(" first"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(sink_->text(0), " first");
  generator().on_room();
  turn();
  ASSERT_THAT(pipelines_.sequences, SizeIs(4));
  pipelines_.send_tokens(3, tokens_of(" second"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(second->text(0), " second");
  generator().on_room();
  turn();
  EXPECT_EQ(sent(4).priority(), -1);
}

TEST_F(MovingRequestsTest, WaitsForALeadToComeBack) {
  start();
  pipelines_.send_tokens(0, tokens_of(" Shall"));
  pipelines_.ready = false;
  pipelines_.lose(0);
  turn();
  EXPECT_FALSE(sink_->ended());
  EXPECT_THAT(pipelines_.sequences, SizeIs(1));
  const auto newcomer = std::make_shared<RecordingSink>();
  generator().start(request_, newcomer);
  turn();
  EXPECT_EQ(newcomer->error->code(), absl::StatusCode::kUnavailable);
  pipelines_.ready = true;
  generator().on_room();
  turn();
  pipelines_.send_tokens(1, tokens_of(" I"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(sink_->text(0), " Shall I");
}

TEST_F(MovingRequestsTest, NewcomersWaitForAPipelineThatPauses) {
  limits_.queue.max_wait = milliseconds(1);  // which time without pipelines is no part of
  pipelines_.ready = false;
  pipelines_.pausing = true;
  start();
  turn();
  EXPECT_FALSE(sink_->ended());
  EXPECT_EQ(metrics_.queue_requests(0).Value(), 1);
  pipelines_.pausing = false;
  const auto refused = std::make_shared<RecordingSink>();
  generator().start(request_, refused);
  turn();
  EXPECT_EQ(refused->error->code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(sink_->ended()) << "what waits, waits on";
  pipelines_.ready = true;
  generator().on_room();
  turn();
  pipelines_.send_tokens(0, tokens_of(" I"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(sink_->text(0), " I");
}

TEST_F(MovingRequestsTest, EndsAsUnavailableWhenNoLeadComesBack) {
  limits_.moves.wait = milliseconds(5);
  start();
  pipelines_.send_tokens(0, tokens_of(" Shall"));
  pipelines_.ready = false;
  pipelines_.lose(0);
  turn();
  EXPECT_FALSE(sink_->ended());
  loop_.restart();
  loop_.run_one();  // the timer
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(retry_after_of(*sink_->error));
  EXPECT_EQ(given_up("no_pipeline"), 1);
  expect_nothing_in_flight();
}

TEST_F(MovingRequestsTest, DeadlineEndsWhatWaitsForALead) {
  request_.deadline = now() + milliseconds(20);
  start();
  pipelines_.send_tokens(0, tokens_of(" Shall"));
  pipelines_.ready = false;
  pipelines_.lose(0);
  turn();
  while (!sink_->ended() && now() < request_.deadline + std::chrono::seconds(30)) {
    loop_.restart();
    loop_.run_one_for(milliseconds(10));
  }
  EXPECT_EQ(sink_->finish(0), FinishReason::kDeadline);
  EXPECT_EQ(sink_->text(0), " Shall");
  EXPECT_TRUE(sink_->usage);
  expect_nothing_in_flight();
  pipelines_.ready = true;
  generator().on_room();
  turn();
  EXPECT_THAT(pipelines_.sequences, SizeIs(1));
}

TEST_F(MovingRequestsTest, AllPipelinesShareOneDeadline) {
  request_.deadline = now() + std::chrono::seconds(100);
  start();
  const Time sent_first = now();
  while (now() < sent_first + milliseconds(3)) turn();
  pipelines_.lose(0);
  turn();
  EXPECT_LT(sent(1).timeout_ms(), sent(0).timeout_ms());
  EXPECT_GT(sent(1).timeout_ms(), 60'000U);
}

TEST_F(MovingRequestsTest, ClientThatGoesAwayMeanwhileLeavesNothing) {
  request_.num_choices = 2;
  const GenerationId id = start();
  pipelines_.ready = false;
  pipelines_.lose(0);
  turn();
  generator().cancel(id);
  EXPECT_TRUE(pipelines_.sequences[1].cancelled);
  expect_nothing_in_flight();
  pipelines_.ready = true;
  generator().on_room();
  turn();
  EXPECT_THAT(pipelines_.sequences, SizeIs(2));
  EXPECT_FALSE(sink_->ended());
}

TEST_F(MovingRequestsTest, FailureOfTheLeadsIsTriedAgainElsewhere) {
  start();
  pipelines_.send_tokens(0, tokens_of(" Shall"));
  pipelines_.send(0, error_output(absl::StatusCode::kInternal, "the model's logits hold NaN"));
  await_sent(1);
  EXPECT_EQ(pipelines_.asked, (FakePipelines::Asked{1, tokens_of(" Shall").size(), 1}));
  EXPECT_THAT(sent(1).generated_tokens(), ElementsAreArray(tokens_of(" Shall")));
  pipelines_.send_tokens(1, tokens_of(" I"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(sink_->text(0), " Shall I");
  EXPECT_EQ(moves("failed"), 1);
}

TEST_F(MovingRequestsTest, RefusalOfALeadThatDrainsIsNoRetry) {
  limits_.moves.retries = {.ratio = 0, .most = 0};
  start();
  pipelines_.send(0, error_output(absl::StatusCode::kUnavailable, "the pipeline is draining"));
  await_sent(1);
  EXPECT_EQ(moves("draining"), 1);
  pipelines_.send_tokens(1, tokens_of(" I"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(sink_->text(0), " I");
}

TEST_F(MovingRequestsTest, InvalidRequestIsNotTriedAgain) {
  start();
  pipelines_.send(0, error_output(absl::StatusCode::kInvalidArgument, "structured output: too ambiguous"));
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kInvalidArgument);
  turn();
  EXPECT_THAT(pipelines_.sequences, SizeIs(1));
}

TEST_F(MovingRequestsTest, RetriesEndWithTheLeadsErrorWhenTheBudgetIsSpent) {
  limits_.moves.retries = {.ratio = 0.1, .most = 1};
  start();
  const auto refusal = error_output(absl::StatusCode::kResourceExhausted, "4096 sequences are waiting");
  pipelines_.send(0, refusal);
  await_sent(1);
  pipelines_.send(1, refusal);
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(sink_->error->message()), HasSubstr("4096 sequences"));
  EXPECT_EQ(given_up("no_budget"), 1);
  expect_nothing_in_flight();
}

TEST_F(MovingRequestsTest, SequenceThatTakesEveryPipelineWithItEnds) {
  limits_.moves.max_in_a_row = 3;
  start();
  for (size_t i = 0; i < 3; ++i) {
    pipelines_.lose(i);
    turn();
  }
  pipelines_.send_tokens(3, tokens_of(" Shall"));  // it gets on: the count begins again
  for (size_t i = 3; i < 6; ++i) {
    pipelines_.lose(i);
    turn();
  }
  EXPECT_FALSE(sink_->ended());
  pipelines_.lose(6);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(given_up("too_often"), 1);
  expect_nothing_in_flight();
}

TEST_F(MovingRequestsTest, LongSequencesLeaveAPipelineThatDrains) {
  start();
  pipelines_.pipeline = 2;
  pipelines_.send_tokens(0, tokens_of(" Shall"));
  pipelines_.drain(0, now() + std::chrono::seconds(1));
  ASSERT_THAT(pipelines_.sequences, SizeIs(2));
  EXPECT_TRUE(pipelines_.sequences[0].cancelled);
  EXPECT_EQ(pipelines_.sequences[1].pipeline, 2U);
  EXPECT_THAT(sent(1).generated_tokens(), ElementsAreArray(tokens_of(" Shall")));
  EXPECT_EQ(moves("draining"), 1);
  pipelines_.send_tokens(1, tokens_of(" I"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(sink_->text(0), " Shall I");
  expect_nothing_in_flight();
}

TEST_F(MovingRequestsTest, ShortSequencesEndOnAPipelineThatDrains) {
  request_.max_tokens = 3;
  start();
  pipelines_.send_tokens(0, {20});
  pipelines_.send_tokens(0, {20});
  pipelines_.drain(0, now() + std::chrono::hours(1));
  EXPECT_THAT(pipelines_.sequences, SizeIs(1));
  EXPECT_TRUE(runs(0));
}

TEST_F(MovingRequestsTest, SequencesStayOnAPipelineThatDrainsWhileThereIsNoOther) {
  start();
  pipelines_.send_tokens(0, tokens_of(" Shall"));
  pipelines_.ready = false;
  pipelines_.drain(0, now() + std::chrono::seconds(1));
  EXPECT_TRUE(runs(0));
  pipelines_.send_tokens(0, tokens_of(" I"));
  pipelines_.ready = true;
  pipelines_.room = 1;
  pipelines_.drain(0, now() + std::chrono::seconds(1));
  EXPECT_TRUE(runs(0)) << "the other one is full";
  pipelines_.lose(0, MoveReason::kDraining);
  turn();
  EXPECT_EQ(moves("draining"), 1);
  EXPECT_THAT(sent(1).generated_tokens(), ElementsAreArray(tokens_of(" Shall I")));
}

TEST_F(MovingRequestsTest, RouterThatDrainsMovesWhatItHas) {
  start();
  pipelines_.send_tokens(0, tokens_of(" Shall"));
  generator().drain();
  pipelines_.lose(0);
  turn();
  pipelines_.send_tokens(1, tokens_of(" I"), v1::FINISH_REASON_LENGTH);
  EXPECT_TRUE(sink_->usage);
  expect_nothing_in_flight();
}

}  // namespace
}  // namespace octet::router
