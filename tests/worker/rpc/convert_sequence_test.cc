// What routers send and get: round trips, and every field that can be wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "base/status.h"
#include "base/wire_version.h"
#include "octet/v1/pipeline.pb.h"
#include "worker/rpc/convert.h"

namespace octet::worker {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

WireLimits limits() {
  return {.vocab_size = 100, .max_model_len = 64, .max_batch_tokens = 32, .num_blocks = 8};
}

v1::StartSequence start() {
  v1::StartSequence message;
  message.set_sequence_id(7);
  for (uint32_t token : {1u, 2u, 99u}) message.add_prompt_tokens(token);
  message.set_max_tokens(10);
  message.mutable_sampling()->set_temperature(0.5f);
  message.mutable_sampling()->set_top_p(1);
  message.mutable_sampling()->set_repetition_penalty(1);
  return message;
}

TEST(StartSequenceTest, EveryFieldArrives) {
  v1::StartSequence message = start();
  message.add_generated_tokens(5);
  message.add_stop_token_ids(3);
  message.set_timeout_ms(1500);
  message.set_priority(-4);
  message.set_cache_salt("tenant");
  v1::SequenceSampling* sampling = message.mutable_sampling();
  sampling->set_top_k(40);
  sampling->set_top_p(0.9f);
  sampling->set_min_p(0.1f);
  sampling->set_repetition_penalty(1.5f);
  sampling->set_repetition_rule(v1::REPETITION_RULE_DIVIDE);
  sampling->set_presence_penalty(-2);
  sampling->set_frequency_penalty(2);
  (*sampling->mutable_logit_bias())[9] = -100;
  (*sampling->mutable_logit_bias())[4] = 1;
  sampling->add_bad_words()->add_ids(8);
  sampling->set_seed(std::numeric_limits<uint64_t>::max());
  sampling->set_choice_index(3);
  sampling->add_suppressed_before_min_tokens(3);
  sampling->set_min_tokens(2);
  sampling->set_logprobs(20);
  sampling->set_prompt_logprobs(0);

  const Time time = Time() + std::chrono::hours(1);
  const absl::StatusOr<NewSequence> sequence = from_proto(message, limits(), time);
  ASSERT_TRUE(sequence.ok()) << sequence.status();
  EXPECT_EQ(sequence->prompt, (std::vector<TokenId>{1, 2, 99}));
  EXPECT_EQ(sequence->generated, (std::vector<TokenId>{5}));
  EXPECT_EQ(sequence->stop_token_ids, (std::vector<TokenId>{3}));
  EXPECT_EQ(sequence->max_tokens, 10u);
  EXPECT_EQ(sequence->priority, -4);
  EXPECT_EQ(sequence->cache_salt, "tenant");
  EXPECT_EQ(sequence->deadline, time + std::chrono::milliseconds(1500));
  const SamplingParams expected = {.temperature = 0.5f,
                                   .top_k = 40,
                                   .top_p = 0.9f,
                                   .min_p = 0.1f,
                                   .repetition_penalty = 1.5f,
                                   .repetition_rule = RepetitionRule::kDivide,
                                   .presence_penalty = -2,
                                   .frequency_penalty = 2,
                                   .logit_bias = {{4, 1.0f}, {9, -100.0f}},
                                   .bad_words = {{8}},
                                   .seed = std::numeric_limits<uint64_t>::max(),
                                   .choice_index = 3,
                                   .suppressed_before_min_tokens = {3},
                                   .min_tokens = 2,
                                   .logprobs = 20,
                                   .prompt_logprobs = 0};
  EXPECT_EQ(sequence->sampling, expected);

  sampling->mutable_constraint()->set_automaton("any bytes");
  sampling->mutable_constraint()->add_end_token_ids(7);
  sampling->mutable_constraint()->set_begins_text(true);
  const auto constrained = from_proto(message, limits(), time);
  ASSERT_TRUE(constrained.ok());
  ASSERT_TRUE(constrained->sampling.constraint.has_value());
  EXPECT_EQ(*constrained->sampling.constraint->automaton, "any bytes");
  EXPECT_EQ(constrained->sampling.constraint->end_tokens, std::vector<TokenId>{7});
  EXPECT_TRUE(constrained->sampling.constraint->begins_text);
}

TEST(StartSequenceTest, WithoutATimeoutThereIsNoDeadlineAndALongOneDoesNotOverflow) {
  v1::StartSequence message = start();
  EXPECT_EQ(from_proto(message, limits(), now())->deadline, kNoDeadline);
  message.set_timeout_ms(std::numeric_limits<uint64_t>::max());
  EXPECT_GT(from_proto(message, limits(), now())->deadline, now() + std::chrono::hours(24));
}

TEST(StartSequenceTest, EveryBadFieldIsNamed) {
  using Change = std::function<void(v1::StartSequence&)>;
  const auto sampling = [](auto set) -> Change {
    return [set](v1::StartSequence& message) { set(*message.mutable_sampling()); };
  };
  const std::pair<const char*, Change> cases[] = {
      {"prompt_tokens", [](auto& m) { m.clear_prompt_tokens(); }},
      {"prompt_tokens", [](auto& m) { m.add_prompt_tokens(100); }},
      {"prompt_tokens", [](auto& m) { m.mutable_prompt_tokens()->Resize(65, 1); }},
      {"generated_tokens", [](auto& m) { m.add_generated_tokens(4'000'000'000); }},
      {"generated_tokens", [](auto& m) { m.mutable_generated_tokens()->Resize(1'000'000, 1); }},
      {"stop_token_ids", [](auto& m) { m.add_stop_token_ids(100); }},
      {"stop_token_ids", [](auto& m) { m.mutable_stop_token_ids()->Resize(1025, 1); }},
      {"traceparent", [](auto& m) { m.set_traceparent(std::string(56, '0')); }},
      {"tracestate", [](auto& m) { m.set_tracestate(std::string(513, 'a')); }},
      {"sampling.temperature", sampling([](auto& s) { s.set_temperature(kNan); })},
      {"sampling.temperature", sampling([](auto& s) { s.set_temperature(kInfinity); })},
      {"sampling.temperature", sampling([](auto& s) { s.set_temperature(-0.1f); })},
      {"sampling.temperature", sampling([](auto& s) { s.set_temperature(100.5f); })},
      {"sampling.top_p", sampling([](auto& s) { s.set_top_p(0); })},
      {"sampling.top_p", sampling([](auto& s) { s.set_top_p(1.01f); })},
      {"sampling.top_p", sampling([](auto& s) { s.set_top_p(kNan); })},
      {"sampling.min_p", sampling([](auto& s) { s.set_min_p(-1); })},
      {"sampling.min_p", sampling([](auto& s) { s.set_min_p(kNan); })},
      {"sampling.repetition_penalty", sampling([](auto& s) { s.set_repetition_penalty(0); })},
      {"sampling.repetition_penalty", sampling([](auto& s) { s.set_repetition_penalty(kInfinity); })},
      {"sampling.repetition_rule",
       sampling([](auto& s) { s.set_repetition_rule(static_cast<v1::RepetitionRule>(9)); })},
      {"sampling.presence_penalty", sampling([](auto& s) { s.set_presence_penalty(2.5f); })},
      {"sampling.frequency_penalty", sampling([](auto& s) { s.set_frequency_penalty(-kInfinity); })},
      {"sampling.logit_bias", sampling([](auto& s) { (*s.mutable_logit_bias())[100] = 1; })},
      {"sampling.logit_bias", sampling([](auto& s) { (*s.mutable_logit_bias())[1] = 101; })},
      {"sampling.logit_bias", sampling([](auto& s) { (*s.mutable_logit_bias())[1] = kNan; })},
      {"sampling.logit_bias", sampling([](auto& s) {
         for (uint32_t i = 0; i < 1025; ++i) (*s.mutable_logit_bias())[i] = 1;
       })},
      {"sampling.bad_words", sampling([](auto& s) { s.add_bad_words(); })},
      {"sampling.bad_words", sampling([](auto& s) { s.add_bad_words()->add_ids(100); })},
      {"sampling.bad_words", sampling([](auto& s) { s.add_bad_words()->mutable_ids()->Resize(1025, 1); })},
      {"sampling.bad_words", sampling([](auto& s) {
         for (int i = 0; i < 65; ++i) s.add_bad_words()->add_ids(1);
       })},
      {"sampling.suppressed_before_min_tokens",
       sampling([](auto& s) { s.add_suppressed_before_min_tokens(100); })},
      {"sampling.constraint.automaton",
       sampling([](auto& s) { s.mutable_constraint()->set_automaton(std::string((256 << 10) + 1, 'a')); })},
      {"sampling.constraint.end_token_ids",
       sampling([](auto& s) { s.mutable_constraint()->add_end_token_ids(100); })},
      {"sampling.logprobs", sampling([](auto& s) { s.set_logprobs(21); })},
      {"sampling.prompt_logprobs", sampling([](auto& s) { s.set_prompt_logprobs(4'000'000'000); })},
  };
  ASSERT_TRUE(from_proto(start(), limits(), now()).ok());
  for (const auto& [field, change] : cases) {
    v1::StartSequence message = start();
    change(message);
    const absl::Status status = from_proto(message, limits(), now()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_EQ(field_of(status), field) << status;
  }
}

TEST(SequenceNewsTest, EveryFieldArrives) {
  SequenceNews news;
  news.router_sequence_id = 9;
  news.tokens.push_back({5, -0.25f, {5, 6}, {-0.25f, -1.5f}});
  news.prompt_logprobs.push_back({4, -2.0f, {}, {}});
  news.num_cached_tokens = 32;
  news.finish = FinishReason::kLength;
  v1::SequenceOutput message;
  to_proto(news, &message);
  EXPECT_EQ(message.sequence_id(), 9u);
  EXPECT_EQ(message.cached_tokens(), 32u);
  ASSERT_EQ(message.tokens_size(), 1);
  EXPECT_EQ(message.tokens(0).token_id(), 5u);
  EXPECT_EQ(message.tokens(0).logprob(), -0.25f);
  EXPECT_EQ(message.tokens(0).top_token_ids(1), 6u);
  EXPECT_EQ(message.tokens(0).top_logprobs(1), -1.5f);
  EXPECT_EQ(message.prompt_logprobs(0).token_id(), 4u);
  EXPECT_EQ(message.finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(message.error_code(), 0);
}

TEST(SequenceNewsTest, AFailureIsACodeAndAText) {
  SequenceNews news;
  news.failure = invalid_field("max_tokens", "too large");
  v1::SequenceOutput message;
  to_proto(news, &message);
  EXPECT_EQ(message.error_code(), 3);
  EXPECT_EQ(message.error_message(), "max_tokens: too large");
  EXPECT_EQ(message.finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
}

TEST(WatchResponseTest, TellsModelLoadAndState) {
  EngineStatus status;
  status.state = PipelineState::kDraining;
  status.epoch = 4;
  status.scheduler.running = 2;
  status.scheduler.waiting = 3;
  status.scheduler.free_blocks = 5;
  status.scheduler.total_blocks = 6;
  status.scheduler.outstanding_prompt_tokens = 7;
  ModelConfig model;
  model.name = "nano";
  model.vocab_size = 1600;
  model.max_model_len = 2048;
  model.eos_token_id = 3;
  v1::WatchResponse message;
  const Time time = now();
  status.drain_end = time + std::chrono::milliseconds(1500);
  to_proto(status, model, "cpu", 16, time, &message);
  EXPECT_EQ(message.drain_left_ms(), 1500u);
  EXPECT_EQ(message.wire_version(), kPipelineWireVersion);
  EXPECT_EQ(message.state(), v1::PIPELINE_STATE_DRAINING);
  EXPECT_EQ(message.epoch(), 4u);
  EXPECT_EQ(message.model().name(), "nano");
  EXPECT_EQ(message.model().vocab_size(), 1600u);
  EXPECT_EQ(message.model().max_model_len_tokens(), 2048u);
  EXPECT_EQ(message.model().backend(), "cpu");
  EXPECT_EQ(message.eos_token_id(), 3u);
  EXPECT_EQ(message.running_sequences(), 2u);
  EXPECT_EQ(message.waiting_sequences(), 3u);
  EXPECT_EQ(message.outstanding_prompt_tokens(), 7u);
  EXPECT_EQ(message.total_blocks(), 6u);
  EXPECT_EQ(message.free_blocks(), 5u);
  EXPECT_EQ(message.block_size_tokens(), 16u);
}

}  // namespace
}  // namespace octet::worker
