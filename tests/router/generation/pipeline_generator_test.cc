#include "router/generation/pipeline_generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/router/generation/generator_fixture.h"

namespace octet::router {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST_F(PipelineGeneratorTest, SendsTheWholeRequest) {
  request_.num_choices = 2;
  request_.sampling.temperature = 0.5F;
  request_.sampling.top_k = 7;
  request_.sampling.repetition_rule = RepetitionRule::kDivide;
  request_.sampling.logit_bias = {{5, 1.5F}};
  request_.sampling.bad_words = {{1, 2}};
  request_.min_tokens = 3;
  request_.logprobs = 2;
  request_.prompt_logprobs = 1;
  request_.deadline = now() + std::chrono::seconds(10);
  request_.priority = -4;
  request_.tenant.name = "tenant";
  start();
  ASSERT_THAT(pipelines_.sequences, SizeIs(2));
  for (uint32_t i = 0; i < 2; ++i) {
    const v1::StartSequence& sent = pipelines_.sequences[i].start;
    EXPECT_THAT(sent.prompt_tokens(), ElementsAreArray(request_.prompt));
    EXPECT_THAT(sent.generated_tokens(), IsEmpty());
    EXPECT_EQ(sent.max_tokens(), 100U);
    EXPECT_THAT(sent.stop_token_ids(), ElementsAreArray(request_.stop_token_ids));
    EXPECT_GT(sent.timeout_ms(), 9000U);
    EXPECT_LE(sent.timeout_ms(), 10000U);
    EXPECT_EQ(sent.priority(), -4);
    EXPECT_EQ(sent.cache_salt(), "tenant");
    const v1::SequenceSampling& sampling = sent.sampling();
    EXPECT_EQ(sampling.temperature(), 0.5F);
    EXPECT_EQ(sampling.top_k(), 7U);
    EXPECT_EQ(sampling.top_p(), 1);
    EXPECT_EQ(sampling.repetition_penalty(), 1);
    EXPECT_EQ(sampling.repetition_rule(), v1::REPETITION_RULE_DIVIDE);
    EXPECT_EQ(sampling.logit_bias().at(5), 1.5F);
    EXPECT_THAT(sampling.bad_words(0).ids(), ElementsAre(1, 2));
    EXPECT_EQ(sampling.seed(), 42U);
    EXPECT_EQ(sampling.choice_index(), i);
    EXPECT_EQ(sampling.min_tokens(), 3U);
    EXPECT_THAT(sampling.suppressed_before_min_tokens(), ElementsAreArray(request_.stop_token_ids));
    EXPECT_EQ(sampling.logprobs(), 2U);
    EXPECT_EQ(sampling.has_prompt_logprobs(), i == 0);
  }
}

TEST_F(PipelineGeneratorTest, SuppressesWhatTheRequestNames) {
  request_.min_tokens = 1;
  request_.suppressed_before_min_tokens = {{tokenizer_->eos_id()}};
  start();
  EXPECT_THAT(pipelines_.sequences[0].start.sampling().suppressed_before_min_tokens(),
              ElementsAre(tokenizer_->eos_id()));
}

TEST_F(PipelineGeneratorTest, AnswersWithTextUsageAndReason) {
  start();
  EXPECT_EQ(metrics_.requests_in_flight.Value(), 1);
  const auto tokens = tokens_of(" Shall I");
  v1::SequenceOutput first;
  first.add_tokens()->set_token_id(tokens[0]);
  first.set_cached_tokens(1);
  pipelines_.send(0, first);
  pipelines_.send_tokens(0, {tokens.begin() + 1, tokens.end()});
  EXPECT_FALSE(sink_->ended());
  pipelines_.send_tokens(0, {end_of_turn()}, v1::FINISH_REASON_STOP);
  EXPECT_EQ(sink_->text(0), " Shall I");
  EXPECT_EQ(sink_->finish(0), FinishReason::kStop);
  EXPECT_EQ(sink_->pieces.back().stop_reason, "<extra_id_1>");
  ASSERT_TRUE(sink_->usage);
  EXPECT_EQ(sink_->usage->prompt_tokens, request_.prompt.size());
  EXPECT_EQ(sink_->usage->completion_tokens, tokens.size() + 1);
  EXPECT_EQ(sink_->usage->cached_tokens, 1U);
  EXPECT_EQ(metrics_.generated_tokens.Value(), static_cast<double>(tokens.size() + 1));
  EXPECT_EQ(metrics_.prompt_tokens.Value(), static_cast<double>(request_.prompt.size()));
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, StopStringCancelsAtTheLead) {
  request_.stop = {"compare"};
  start();
  for (const TokenId token : tokens_of(" Shall I compare thee")) {
    if (pipelines_.sequences[0].events != nullptr) pipelines_.send_tokens(0, {token});
  }
  EXPECT_TRUE(pipelines_.sequences[0].cancelled);
  EXPECT_EQ(sink_->text(0), " Shall I ");
  EXPECT_EQ(sink_->finish(0), FinishReason::kStop);
  EXPECT_TRUE(sink_->usage);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, StopStringInTheLastOutputWinsOverItsReason) {
  request_.stop = {"thee"};
  start();
  pipelines_.send_tokens(0, tokens_of(" thee"), v1::FINISH_REASON_LENGTH);
  EXPECT_FALSE(pipelines_.sequences[0].cancelled);
  EXPECT_EQ(sink_->finish(0), FinishReason::kStop);
  EXPECT_EQ(sink_->text(0), " ");
}

TEST_F(PipelineGeneratorTest, StopTokenInTheMiddleOfAnOutputIsText) {
  request_.stop_token_ids = {tokenizer_->eos_id()};
  start();
  pipelines_.send_tokens(0, {end_of_turn(), tokenizer_->eos_id()}, v1::FINISH_REASON_STOP);
  EXPECT_EQ(sink_->text(0), "<extra_id_1>");
  EXPECT_EQ(sink_->usage->completion_tokens, 2U);
}

TEST_F(PipelineGeneratorTest, ChoicesInterleave) {
  request_.num_choices = 3;
  start();
  EXPECT_EQ(metrics_.sequences_in_flight.Value(), 3);
  pipelines_.send_tokens(2, tokens_of(" two"));
  pipelines_.send_tokens(0, tokens_of(" zero"));
  pipelines_.send_tokens(0, tokens_of(" more"), v1::FINISH_REASON_LENGTH);
  pipelines_.send_tokens(1, tokens_of(" one"), v1::FINISH_REASON_LENGTH);
  EXPECT_FALSE(sink_->ended());
  pipelines_.send_tokens(2, {end_of_turn()}, v1::FINISH_REASON_STOP);
  EXPECT_EQ(sink_->text(0), " zero more");
  EXPECT_EQ(sink_->text(1), " one");
  EXPECT_EQ(sink_->text(2), " two");
  EXPECT_EQ(sink_->pieces.front().index, 2U);
  EXPECT_EQ(sink_->finish(0), FinishReason::kLength);
  EXPECT_EQ(sink_->finish(2), FinishReason::kStop);
  EXPECT_EQ(sink_->usage->completion_tokens, tokens_of(" zero").size() + tokens_of(" more").size() +
                                                 tokens_of(" one").size() + tokens_of(" two").size() + 1);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, PromptLogprobsComeBeforeEveryPiece) {
  request_.prompt = {10, 11, 12, 13};
  request_.prompt_logprobs = 0;
  request_.num_choices = 2;
  start();
  pipelines_.send_tokens(1, tokens_of(" early"));
  v1::SequenceOutput output;
  output.add_prompt_logprobs()->set_token_id(11);
  pipelines_.send(0, output);
  EXPECT_FALSE(sink_->prompt_logprobs);
  EXPECT_THAT(sink_->pieces, IsEmpty());
  output.clear_prompt_logprobs();
  output.add_prompt_logprobs()->set_token_id(12);
  output.add_prompt_logprobs()->set_token_id(13);
  output.mutable_prompt_logprobs(1)->set_logprob(-2);
  output.add_tokens()->set_token_id(tokens_of(" x")[0]);
  pipelines_.send(0, output);
  ASSERT_TRUE(sink_->prompt_logprobs);
  ASSERT_THAT(*sink_->prompt_logprobs, SizeIs(3));
  EXPECT_EQ((*sink_->prompt_logprobs)[2].token, 13U);
  EXPECT_EQ((*sink_->prompt_logprobs)[2].logprob, -2);
  ASSERT_THAT(sink_->pieces, SizeIs(2));
  EXPECT_EQ(sink_->pieces[0].index, 1U);
  EXPECT_EQ(sink_->pieces[1].index, 0U);
}

TEST_F(PipelineGeneratorTest, PromptOfOneTokenHasNoLogprobs) {
  request_.prompt = {10};
  request_.prompt_logprobs = 0;
  start();
  pipelines_.send_tokens(0, {20}, v1::FINISH_REASON_LENGTH);
  ASSERT_TRUE(sink_->prompt_logprobs);
  EXPECT_THAT(*sink_->prompt_logprobs, IsEmpty());
  EXPECT_TRUE(sink_->usage);
}

TEST_F(PipelineGeneratorTest, MissingPromptLogprobsAreAnInternalError) {
  request_.prompt = {10, 11, 12};
  request_.prompt_logprobs = 0;
  start();
  v1::SequenceOutput output;
  output.add_prompt_logprobs()->set_token_id(11);
  output.add_tokens()->set_token_id(20);
  pipelines_.send(0, output);
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kInternal);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, MoreTokensThanAskedForAreAnInternalError) {
  request_.max_tokens = 2;
  start();
  pipelines_.send_tokens(0, {20, 21, 22});
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kInternal);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, CancelEndsAllSequencesAndTheSinkHearsNothing) {
  request_.num_choices = 2;
  const GenerationId id = start();
  pipelines_.send_tokens(0, tokens_of(" a"));
  const size_t num_pieces = sink_->pieces.size();
  std::weak_ptr<RecordingSink> weak = sink_;
  generator().cancel(id);
  EXPECT_TRUE(pipelines_.sequences[0].cancelled);
  EXPECT_TRUE(pipelines_.sequences[1].cancelled);
  EXPECT_EQ(sink_->pieces.size(), num_pieces);
  EXPECT_FALSE(sink_->ended());
  sink_.reset();
  EXPECT_TRUE(weak.expired());
  generator().cancel(id);
  generator().cancel(12345);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, SinkMayCancelFromWithinItsCall) {
  request_.num_choices = 2;
  const GenerationId id = start();
  sink_->after_piece = [&] { generator().cancel(id); };
  pipelines_.send_tokens(1, tokens_of(" a"), v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(sink_->pieces, SizeIs(1));
  EXPECT_FALSE(sink_->ended());
  EXPECT_TRUE(pipelines_.sequences[0].cancelled);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, LeadRefusalThatMayNotBeRetriedEndsTheRequest) {
  limits_.moves.max_in_a_row = 0;
  request_.num_choices = 2;
  start();
  pipelines_.send(1, error_output(absl::StatusCode::kResourceExhausted, "the queue is full"));
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(sink_->error->message()), HasSubstr("the queue is full"));
  EXPECT_TRUE(retry_after_of(*sink_->error));
  EXPECT_TRUE(pipelines_.sequences[0].cancelled);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, UnknownErrorCodeOfTheLeadIsInternal) {
  limits_.moves.max_in_a_row = 0;
  start();
  v1::SequenceOutput output = error_output(absl::StatusCode::kOk, "odd");
  output.set_error_code(-77);
  pipelines_.send(0, output);
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kInternal);
}

TEST_F(PipelineGeneratorTest, CancelledByTheLeadIsUnavailable) {
  limits_.moves.max_in_a_row = 0;
  start();
  pipelines_.send_tokens(0, {}, v1::FINISH_REASON_CANCELLED);
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kUnavailable);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, LostPipelineIsUnavailableWithAHintWhenNothingMoves) {
  limits_.moves.max_in_a_row = 0;
  request_.num_choices = 2;
  start();
  pipelines_.send_tokens(0, tokens_of(" a"));
  pipelines_.lose(0);
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(retry_after_of(*sink_->error));
  EXPECT_TRUE(pipelines_.sequences[1].cancelled);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, NoReadyPipelineIsUnavailableAndNothingStaysBehind) {
  request_.num_choices = 3;
  pipelines_.ready = false;
  start();
  EXPECT_FALSE(sink_->ended());  // never before start() has returned
  loop_.run();
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(pipelines_.sequences, IsEmpty());
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, RefusesMoreRequestsThanTheLimit) {
  for (int i = 0; i < 4; ++i) generator().start(request_, std::make_shared<RecordingSink>());
  start();
  loop_.poll();
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(sink_->error->message()), HasSubstr("4 requests"));
  EXPECT_TRUE(retry_after_of(*sink_->error));
  // One ends: there is room again.
  pipelines_.send_tokens(0, {20}, v1::FINISH_REASON_LENGTH);
  sink_ = std::make_shared<RecordingSink>();
  start();
  loop_.restart();
  loop_.poll();
  EXPECT_FALSE(sink_->error);
}

TEST_F(PipelineGeneratorTest, RefusesMoreSequencesThanTheLimit) {
  request_.num_choices = 5;
  generator().start(request_, std::make_shared<RecordingSink>());
  request_.num_choices = 4;
  start();
  loop_.poll();
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(sink_->error->message()), HasSubstr("at most 8"));
  EXPECT_THAT(pipelines_.sequences, SizeIs(5));
  // The first ends, and there is room for eight again.
  for (size_t i = 0; i < 5; ++i) pipelines_.send_tokens(i, {20}, v1::FINISH_REASON_LENGTH);
  request_.num_choices = 8;
  sink_ = std::make_shared<RecordingSink>();
  start();
  loop_.restart();
  loop_.poll();
  EXPECT_FALSE(sink_->error);
}

TEST_F(PipelineGeneratorTest, CancelOfARefusedRequestIsSilent) {
  generator().drain();
  const GenerationId id = start();
  generator().cancel(id);
  loop_.poll();
  EXPECT_FALSE(sink_->ended());
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, DrainingRefusesNewRequestsAndFinishesOld) {
  const auto old_sink = std::make_shared<RecordingSink>();
  generator().start(request_, old_sink);
  generator().drain();
  start();
  loop_.poll();
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kUnavailable);
  pipelines_.send_tokens(0, tokens_of(" a"), v1::FINISH_REASON_LENGTH);
  EXPECT_TRUE(old_sink->usage);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, DeadlineBeforeTheFirstTokenIsAnError) {
  start();
  pipelines_.send_tokens(0, {}, v1::FINISH_REASON_DEADLINE);
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kDeadlineExceeded);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, DeadlineAfterTheFirstTokenIsAFinishReason) {
  request_.num_choices = 2;
  start();
  pipelines_.send_tokens(0, tokens_of(" a"));
  pipelines_.send_tokens(1, {}, v1::FINISH_REASON_DEADLINE);
  pipelines_.send(0, error_output(absl::StatusCode::kDeadlineExceeded, "too late"));
  EXPECT_EQ(sink_->text(0), " a");
  EXPECT_EQ(sink_->finish(0), FinishReason::kDeadline);
  EXPECT_EQ(sink_->finish(1), FinishReason::kDeadline);
  EXPECT_TRUE(sink_->usage);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, SilentPipelineIsEndedByTheRoutersOwnTimer) {
  request_.deadline = now() + std::chrono::milliseconds(5);
  start();
  loop_.run_one();
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(pipelines_.sequences[0].cancelled);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, RoutersOwnTimerKeepsTheTextSoFar) {
  request_.num_choices = 2;
  request_.stop = {" alpha"};
  request_.deadline = now() + std::chrono::milliseconds(200);
  start();
  pipelines_.send_tokens(0, tokens_of(" al"));  // held back: it may become the stop string
  EXPECT_EQ(sink_->text(0), "");
  loop_.run_one();
  EXPECT_EQ(sink_->text(0), " al");
  EXPECT_EQ(sink_->finish(0), FinishReason::kDeadline);
  EXPECT_EQ(sink_->finish(1), FinishReason::kDeadline);
  EXPECT_TRUE(sink_->usage);
  EXPECT_TRUE(pipelines_.sequences[0].cancelled);
  EXPECT_TRUE(pipelines_.sequences[1].cancelled);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, PassedDeadlineStartsNothing) {
  request_.deadline = now() - std::chrono::milliseconds(1);
  start();
  loop_.poll();
  ASSERT_TRUE(sink_->error);
  EXPECT_EQ(sink_->error->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(pipelines_.sequences, IsEmpty());
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorTest, FinishedRequestLeavesNoTimerBehind) {
  request_.deadline = now() + std::chrono::hours(1);
  start();
  pipelines_.send_tokens(0, tokens_of(" a"), v1::FINISH_REASON_LENGTH);
  loop_.run();  // returns at once: nothing is left to wait for
  EXPECT_TRUE(sink_->usage);
}

TEST_F(PipelineGeneratorTest, LatenciesAreObserved) {
  start();
  pipelines_.send_tokens(0, tokens_of(" a"));
  pipelines_.send_tokens(0, tokens_of(" b"));
  pipelines_.send_tokens(0, tokens_of(" c"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(metrics_.time_to_first_token_seconds.Collect().histogram.sample_count, 1U);
  EXPECT_EQ(metrics_.inter_token_latency_seconds.Collect().histogram.sample_count, 2U);
  EXPECT_EQ(metrics_.request_seconds.Collect().histogram.sample_count, 1U);
}

TEST_F(PipelineGeneratorTest, RandomRunsLeaveNothingInFlight) {
  limits_.max_requests = 64;
  limits_.max_sequences = 512;
  std::srand(3);
  std::vector<GenerationId> ids;
  for (int step = 0; step < 5000; ++step) {
    const int action = std::rand() % 10;
    if (action == 0) {
      request_.num_choices = 1 + std::rand() % 3;
      pipelines_.ready = std::rand() % 8 > 0;
      pipelines_.room = std::rand() % 16;
      ids.push_back(generator().start(request_, std::make_shared<RecordingSink>()));
    } else if (action == 1 && !ids.empty()) {
      generator().cancel(ids[std::rand() % ids.size()]);
    } else if (!pipelines_.sequences.empty()) {
      const size_t sequence = std::rand() % pipelines_.sequences.size();
      if (pipelines_.sequences[sequence].events == nullptr) continue;
      if (action == 2) {
        pipelines_.lose(sequence);
      } else if (action == 3) {
        pipelines_.send(sequence, error_output(absl::StatusCode::kInternal, "broken"));
      } else {
        pipelines_.send_tokens(sequence, {static_cast<TokenId>(std::rand() % 1600)},
                               action == 4 ? v1::FINISH_REASON_LENGTH : v1::FINISH_REASON_UNSPECIFIED);
      }
    }
    loop_.restart();
    loop_.poll();
  }
  for (const GenerationId id : ids) generator().cancel(id);
  expect_nothing_in_flight();
}

// Pipelines with room for one sequence.
class PipelineGeneratorQueueTest : public PipelineGeneratorTest {
 protected:
  PipelineGeneratorQueueTest() {
    pipelines_.room = 1;
    limits_.max_requests = 100;
    limits_.max_sequences = 100;
  }
  std::shared_ptr<RecordingSink> begin(const ValidatedRequest& request) {
    auto sink = std::make_shared<RecordingSink>();
    ids_.push_back(generator().start(request, sink));
    turn();
    return sink;
  }
  // Ends the sequence that runs, and starts the next.
  void finish_one() {
    pipelines_.send_tokens(pipelines_.sequences.size() - 1, {20}, v1::FINISH_REASON_LENGTH);
    generator().on_room();
    turn();
  }
  // The priorities of what was started, in order.
  std::vector<int32_t> started() const {
    std::vector<int32_t> result;
    for (const auto& each : pipelines_.sequences) result.push_back(each.start.priority());
    return result;
  }
  double refusals(const std::string& reason) { return counted("octet_refusals_total", reason); }

  std::vector<GenerationId> ids_;
};

TEST_F(PipelineGeneratorQueueTest, WhatHasNoRoomWaitsAndRunsByPriority) {
  for (const int32_t priority : {0, 5, 0, -5}) {
    request_.priority = priority;
    begin(request_);
  }
  EXPECT_THAT(started(), ElementsAre(0));
  EXPECT_EQ(metrics_.queue_requests(-1).Value(), 1);
  EXPECT_EQ(metrics_.queue_requests(0).Value(), 1);
  EXPECT_EQ(metrics_.queue_requests(5).Value(), 1);
  EXPECT_EQ(metrics_.queue_tokens.Value(), 3.0 * static_cast<double>(request_.prompt.size()));
  EXPECT_EQ(metrics_.requests_in_flight.Value(), 4);
  for (int i = 0; i < 4; ++i) finish_one();
  EXPECT_THAT(started(), ElementsAre(0, -5, 0, 5));
  EXPECT_EQ(metrics_.queue_tokens.Value(), 0);
  EXPECT_EQ(metrics_.queue_requests(0).Value(), 0);
  EXPECT_EQ(metrics_.queue_wait_seconds.Collect().histogram.sample_count, 4U);
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorQueueTest, OneTenantsRushDoesNotHoldUpAnother) {
  request_.tenant.name = "rush";
  for (int i = 0; i < 20; ++i) begin(request_);
  request_.tenant.name = "other";
  request_.max_tokens = 7;
  begin(request_);
  finish_one();
  finish_one();
  EXPECT_EQ(pipelines_.sequences.at(1).start.max_tokens() + pipelines_.sequences.at(2).start.max_tokens(),
            107U);
}

TEST_F(PipelineGeneratorQueueTest, GeneratedTokensAreChargedToTheTenant) {
  request_.tenant.name = "talker";
  for (int i = 0; i < 3; ++i) begin(request_);
  request_.tenant.name = "other";
  request_.max_tokens = 7;
  for (int i = 0; i < 3; ++i) begin(request_);
  pipelines_.send_tokens(0, std::vector<TokenId>(50, 20));
  for (int i = 0; i < 3; ++i) finish_one();
  for (size_t i = 1; i < 4; ++i) EXPECT_EQ(pipelines_.sequences[i].start.max_tokens(), 7U) << i;
}

TEST_F(PipelineGeneratorQueueTest, FullQueueRefusesWithTheLimitAndAHint) {
  limits_.queue.max_requests = 2;
  for (int i = 0; i < 3; ++i) begin(request_);
  const auto refused = begin(request_);
  ASSERT_TRUE(refused->error);
  EXPECT_EQ(refused->error->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused->error->message()), HasSubstr("2 requests wait, of at most 2"));
  EXPECT_EQ(quota_of(*refused->error), "queued_requests");
  EXPECT_TRUE(retry_after_of(*refused->error));
  EXPECT_EQ(refusals("queued_requests"), 1);
}

TEST_F(PipelineGeneratorQueueTest, FullQueueOfTokensRefuses) {
  limits_.queue.max_tokens = request_.prompt.size() * 3;
  begin(request_);
  request_.num_choices = 3;
  begin(request_);
  const auto refused = begin(request_);
  ASSERT_TRUE(refused->error);
  EXPECT_EQ(quota_of(*refused->error), "queued_tokens");
  EXPECT_EQ(refusals("queued_tokens"), 1);
}

TEST_F(PipelineGeneratorQueueTest, RequestThatMakesRoomForAHigherOneIsTold) {
  limits_.queue.max_requests = 1;
  begin(request_);
  const auto displaced = begin(request_);
  request_.priority = -1;
  const auto higher = begin(request_);
  ASSERT_TRUE(displaced->error);
  EXPECT_EQ(displaced->error->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(higher->error);
  EXPECT_EQ(refusals("displaced"), 1);
  finish_one();
  EXPECT_THAT(started(), ElementsAre(0, -1));
}

TEST_F(PipelineGeneratorQueueTest, DeadlineInTheQueueEndsARequestBeforeItIsSent) {
  begin(request_);
  request_.deadline = now() + std::chrono::milliseconds(20);
  const auto late = begin(request_);
  loop_.restart();
  loop_.run_one();  // the queue's timer
  ASSERT_TRUE(late->error);
  EXPECT_EQ(late->error->code(), absl::StatusCode::kDeadlineExceeded);
  finish_one();
  EXPECT_THAT(pipelines_.sequences, SizeIs(1));
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorQueueTest, CancelledRequestLeavesTheQueue) {
  begin(request_);
  const auto cancelled = begin(request_);
  generator().cancel(ids_[1]);
  EXPECT_EQ(metrics_.queue_requests(0).Value(), 0);
  finish_one();
  EXPECT_THAT(pipelines_.sequences, SizeIs(1));
  EXPECT_FALSE(cancelled->ended());
  expect_nothing_in_flight();
}

TEST_F(PipelineGeneratorQueueTest, WhatWaitsOutlastsAPipelineThatGoesAndNewcomersAreRefused) {
  limits_.moves.max_in_a_row = 0;
  begin(request_);
  const auto waits = begin(request_);
  pipelines_.ready = false;
  pipelines_.lose(0);
  generator().on_room();
  turn();
  EXPECT_FALSE(waits->ended());
  EXPECT_EQ(begin(request_)->error->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(refusals("no_pipeline"), 1);
  pipelines_.ready = true;
  generator().on_room();
  turn();
  EXPECT_THAT(pipelines_.sequences, SizeIs(2));
}

TEST_F(PipelineGeneratorQueueTest, DrainingFinishesWhatWaits) {
  begin(request_);
  const auto waits = begin(request_);
  generator().drain();
  EXPECT_EQ(begin(request_)->error->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(refusals("draining"), 1);
  finish_one();
  finish_one();
  EXPECT_TRUE(waits->usage);
  expect_nothing_in_flight();
}

}  // namespace
}  // namespace octet::router
