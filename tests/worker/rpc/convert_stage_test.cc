// What the stages of a pipeline send each other: round trips, every field that can be wrong, and random
// bytes.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "base/status.h"
#include "octet/v1/pipeline.pb.h"
#include "octet/v1/stage.pb.h"
#include "worker/rpc/convert.h"

namespace octet::worker {
namespace {

WireLimits limits() {
  return {.vocab_size = 100, .max_model_len = 64, .max_batch_tokens = 32, .num_blocks = 8};
}

BatchPlan plan() {
  AdmittedSequence sequence;
  sequence.id = 5;
  sequence.tokens = {1, 2, 3};
  sequence.num_prompt_tokens = 2;
  sequence.sampling.temperature = 0.25f;
  sequence.sampling.repetition_rule = RepetitionRule::kDivide;
  sequence.sampling.logit_bias = {{3, 1.5f}, {70, -1.0f}};
  sequence.sampling.bad_words = {{1, 2}, {3}};
  sequence.sampling.seed = 1234567890123456789u;
  sequence.sampling.logprobs = 5;
  sequence.cached_blocks = {3, 1};
  SequenceChunk chunk;
  chunk.id = 5;
  chunk.tokens = {1, 2, 3};
  chunk.new_blocks = {7, 0};
  chunk.samples = true;
  chunk.end_prompt_logprob_row = 1;
  SequenceChunk decode;
  decode.id = 4;
  decode.start_position = 63;
  decode.tokens = {99};
  decode.samples = true;
  BatchPlan plan;
  plan.step = 12;
  plan.admitted = {sequence};
  plan.chunks = {chunk, decode};
  plan.released = {1, 2};
  return plan;
}

v1::BatchPlan plan_message() {
  v1::BatchPlan message;
  to_proto(plan(), &message);
  return message;
}

TEST(BatchPlanTest, SurvivesTheWire) {
  v1::BatchPlan received;
  ASSERT_TRUE(received.ParseFromString(plan_message().SerializeAsString()));
  const absl::StatusOr<BatchPlan> back = from_proto(received, limits());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, plan());
}

TEST(BatchPlanTest, EveryBadFieldIsNamed) {
  using Change = std::function<void(v1::BatchPlan&)>;
  const std::pair<const char*, Change> cases[] = {
      {"admitted.cached_blocks", [](auto& m) { m.mutable_admitted(0)->add_cached_blocks(8); }},
      {"admitted.cached_blocks",
       [](auto& m) { m.mutable_admitted(0)->mutable_cached_blocks()->Resize(9, 0); }},
      {"admitted",
       [](auto& m) {
         for (int i = 0; i < 2; ++i) *m.add_admitted() = m.admitted(0);
       }},
      {"admitted.tokens", [](auto& m) { m.mutable_admitted(0)->add_tokens(100); }},
      {"admitted.tokens", [](auto& m) { m.mutable_admitted(0)->mutable_tokens()->Resize(65, 1); }},
      {"admitted.num_prompt_tokens", [](auto& m) { m.mutable_admitted(0)->set_num_prompt_tokens(0); }},
      {"admitted.num_prompt_tokens", [](auto& m) { m.mutable_admitted(0)->set_num_prompt_tokens(4); }},
      {"sampling.top_p", [](auto& m) { m.mutable_admitted(0)->mutable_sampling()->set_top_p(7); }},
      {"chunks.tokens", [](auto& m) { m.mutable_chunks(0)->clear_tokens(); }},
      {"chunks.tokens", [](auto& m) { m.mutable_chunks(0)->set_tokens(0, 100); }},
      {"chunks.tokens", [](auto& m) { m.mutable_chunks(0)->mutable_tokens()->Resize(33, 1); }},
      {"chunks.start_position", [](auto& m) { m.mutable_chunks(1)->set_start_position(64); }},
      {"chunks.start_position", [](auto& m) { m.mutable_chunks(1)->set_start_position(4'294'967'295); }},
      {"chunks.new_blocks", [](auto& m) { m.mutable_chunks(0)->add_new_blocks(8); }},
      {"chunks.new_blocks", [](auto& m) { m.mutable_chunks(0)->mutable_new_blocks()->Resize(9, 1); }},
      {"chunks.end_prompt_logprob_row", [](auto& m) { m.mutable_chunks(0)->set_end_prompt_logprob_row(4); }},
      {"chunks.end_prompt_logprob_row",
       [](auto& m) { m.mutable_chunks(0)->set_first_prompt_logprob_row(2); }},
      {"chunks", [](auto& m) { m.mutable_chunks(0)->mutable_tokens()->Resize(32, 1); }},
  };
  for (const auto& [field, change] : cases) {
    v1::BatchPlan message = plan_message();
    change(message);
    const absl::Status status = from_proto(message, limits()).status();
    EXPECT_EQ(field_of(status), field) << status;
  }
}

TEST(BatchPlanTest, RandomChangesNeverEscapeTheLimits) {
  std::mt19937 random(3);
  const std::string good = plan_message().SerializeAsString();
  int parsed = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = good;
    for (int change = 0; change < 3; ++change) bytes[random() % bytes.size()] = static_cast<char>(random());
    v1::BatchPlan message;
    if (!message.ParseFromString(bytes)) continue;
    const absl::StatusOr<BatchPlan> plan = from_proto(message, limits());
    if (!plan.ok()) continue;
    ++parsed;
    for (const SequenceChunk& chunk : plan->chunks) {
      ASSERT_LE(chunk.start_position + chunk.tokens.size(), 64u);
      for (const BlockId block : chunk.new_blocks) ASSERT_LT(block, 8u);
      for (const TokenId token : chunk.tokens) ASSERT_LT(token, 100u);
    }
  }
  EXPECT_GT(parsed, 100);
}

TEST(StepResultTest, SurvivesTheWire) {
  StepResult result;
  result.step = 3;
  result.samples.push_back(
      {5, ScoredToken{9, -0.5f, {9, 8}, {-0.5f, -1.0f}}, {ScoredToken{2, -3.0f, {}, {}}}, false});
  result.samples.push_back({6, std::nullopt, {}, true});
  result.samples.back().refusal = "no token can follow";
  result.timing = {1, 2, 3, 4, 5, 6};
  result.error = "why";
  v1::StepResult message;
  to_proto(result, &message);
  const absl::StatusOr<StepResult> back = from_proto(message, limits());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->step, 3u);
  ASSERT_EQ(back->samples.size(), 2u);
  EXPECT_EQ(back->samples[0].id, 5u);
  EXPECT_EQ(back->samples[0].token, result.samples[0].token);
  EXPECT_EQ(back->samples[0].prompt_logprobs, result.samples[0].prompt_logprobs);
  EXPECT_FALSE(back->samples[1].token);
  EXPECT_TRUE(back->samples[1].not_finite);
  EXPECT_EQ(back->samples[1].refusal, "no token can follow");
  EXPECT_EQ(back->timing.compute_ns, 1u);
  EXPECT_EQ(back->timing.receive_wait_ns, 2u);
  EXPECT_EQ(back->timing.send_ns, 3u);
  EXPECT_EQ(back->timing.idle_ns, 4u);
  EXPECT_EQ(back->timing.resident_ns, 5u);
  EXPECT_EQ(back->timing.sent_bytes, 6u);
  EXPECT_EQ(back->error, "why");
}

TEST(StepResultTest, RefusesTokensOutsideTheVocabularyAndUnevenLists) {
  v1::StepResult message;
  v1::ScoredToken* token = message.add_samples()->mutable_token();
  token->set_token_id(100);
  EXPECT_EQ(field_of(from_proto(message, limits()).status()), "token_id");
  token->set_token_id(1);
  token->add_top_token_ids(1);
  EXPECT_EQ(field_of(from_proto(message, limits()).status()), "top_logprobs");
  token->add_top_logprobs(0);
  EXPECT_TRUE(from_proto(message, limits()).ok());
  token->mutable_top_token_ids()->Resize(21, 1);
  token->mutable_top_logprobs()->Resize(21, 0);
  EXPECT_EQ(field_of(from_proto(message, limits()).status()), "top_token_ids");
}

Registration registration() {
  Registration registration;
  registration.description = {.stage = 1,
                              .num_stages = 2,
                              .num_ranks = 4,
                              .layers = {3, 8},
                              .num_blocks = 100,
                              .block_size = 16,
                              .max_batch_tokens = 512,
                              .model_digest = "abc",
                              .backend = "cpu",
                              .arithmetic = "--weights int8",
                              .wire_version = 7,
                              .incarnation = 99,
                              .last_epoch = 6};
  registration.stage_address = "host:1";
  registration.link_address = "host:2";
  return registration;
}

TEST(RegistrationTest, SurvivesTheWire) {
  v1::RegisterRequest message;
  to_proto(registration(), &message);
  const absl::StatusOr<Registration> back = from_proto(message);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->stage_address, "host:1");
  EXPECT_EQ(back->link_address, "host:2");
  const StageDescription& got = back->description;
  EXPECT_EQ(got.stage, 1);
  EXPECT_EQ(got.num_stages, 2);
  EXPECT_EQ(got.num_ranks, 4);
  EXPECT_EQ(got.layers.first, 3);
  EXPECT_EQ(got.layers.end, 8);
  EXPECT_EQ(got.num_blocks, 100u);
  EXPECT_EQ(got.block_size, 16u);
  EXPECT_EQ(got.max_batch_tokens, 512u);
  EXPECT_EQ(got.model_digest, "abc");
  EXPECT_EQ(got.backend, "cpu");
  EXPECT_EQ(got.arithmetic, "--weights int8");
  EXPECT_EQ(got.wire_version, 7u);
  EXPECT_EQ(got.incarnation, 99u);
  EXPECT_EQ(got.last_epoch, 6u);
}

TEST(RegistrationTest, RefusesNumbersAndTextsOutOfRange) {
  using Change = std::function<void(v1::RegisterRequest&)>;
  const std::pair<const char*, Change> cases[] = {
      {"description.stage", [](auto& m) { m.mutable_description()->set_stage(4'294'967'295); }},
      {"description.num_stages", [](auto& m) { m.mutable_description()->set_num_stages((1 << 20) + 1); }},
      {"description.end_layer", [](auto& m) { m.mutable_description()->set_end_layer(1 << 31); }},
      {"description.model_digest",
       [](auto& m) { m.mutable_description()->set_model_digest(std::string(257, 'x')); }},
      {"stage_address", [](auto& m) { m.clear_stage_address(); }},
      {"link_address", [](auto& m) { m.set_link_address(std::string(1 << 20, 'x')); }},
  };
  for (const auto& [field, change] : cases) {
    v1::RegisterRequest message;
    to_proto(registration(), &message);
    change(message);
    EXPECT_EQ(field_of(from_proto(message).status()), field);
  }
}

}  // namespace
}  // namespace octet::worker
