#include "worker/simulated/simulated_stage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

namespace octet::worker {
namespace {

using ::testing::HasSubstr;

// The nano model's configuration, of which the weights are not read.
std::unique_ptr<PipelineStage> load(int stage = 0, int num_stages = 1, const SimulatedPace& pace = {}) {
  StageConfig config;
  config.model_dir = "deploy/nano";
  config.stage = stage;
  config.num_stages = num_stages;
  config.max_batch_tokens = 64;
  return SimulatedStage::load(config, pace).value();
}

const std::vector<TokenId> kPrompt = {4, 329, 22};

BatchPlan opening_plan(const SamplingParams& sampling = {}) {
  BatchPlan plan;
  plan.step = 1;
  plan.admitted.push_back(
      {.id = 1, .tokens = kPrompt, .num_prompt_tokens = 3, .sampling = sampling, .cached_blocks = {}});
  SequenceChunk& chunk = plan.chunks.emplace_back();
  chunk.id = 1;
  chunk.tokens = kPrompt;
  chunk.new_blocks = {0};
  chunk.samples = true;
  return plan;
}

// The same values as tests/testing/simulated_tokens.py gives.
TEST(SimulatedTokens, AreWhatEveryClientComputes) {
  const uint64_t name = simulated_name(kPrompt);
  const SimulatedVocabulary vocabulary = {1600, 3};
  const TokenId expected[] = {1418, 1055, 988, 1138, 1436, 872};
  for (uint32_t i = 0; i < 6; ++i)
    EXPECT_EQ(simulated_token(simulated_draw(name, 3 + i), vocabulary, true), expected[i]);
  EXPECT_EQ(simulated_token(simulated_draw(name, 3 + 157), vocabulary, true), 3);
  EXPECT_GE(simulated_token(simulated_draw(name, 3 + 157), vocabulary, false), 800);
}

TEST(SimulatedStage, AnswersItsTokensStepByStep) {
  const auto stage = load();
  ASSERT_TRUE(stage->start_epoch(1, {}, 10).ok());
  SamplingParams sampling;
  sampling.logprobs = 2;
  StepResult result = stage->execute(opening_plan(sampling));
  ASSERT_EQ(result.error, "");
  ASSERT_EQ(result.samples.size(), 1);
  EXPECT_EQ(result.samples[0].token->token, 1418);
  EXPECT_EQ(result.samples[0].token->top_tokens.size(), 2);
  BatchPlan decode;
  decode.step = 2;
  SequenceChunk& chunk = decode.chunks.emplace_back();
  chunk.id = 1;
  chunk.start_position = 3;
  chunk.tokens = {1418};
  chunk.samples = true;
  result = stage->execute(decode);
  EXPECT_EQ(result.samples.at(0).token->token, 1055);
}

TEST(SimulatedStage, ScoresThePromptWhenAsked) {
  const auto stage = load();
  ASSERT_TRUE(stage->start_epoch(1, {}, 10).ok());
  SamplingParams sampling;
  sampling.prompt_logprobs = 1;
  BatchPlan plan = opening_plan(sampling);
  plan.chunks[0].end_prompt_logprob_row = 2;
  const StepResult result = stage->execute(plan);
  ASSERT_EQ(result.samples.size(), 1);
  ASSERT_EQ(result.samples[0].prompt_logprobs.size(), 2);
  EXPECT_EQ(result.samples[0].prompt_logprobs[1].token, 22);
  EXPECT_EQ(result.samples[0].prompt_logprobs[1].top_tokens.size(), 1);
}

TEST(SimulatedStage, RefusesASequenceWithAConstraint) {
  const auto stage = load();
  ASSERT_TRUE(stage->start_epoch(1, {}, 10).ok());
  SamplingParams sampling;
  sampling.constraint.emplace();
  const StepResult result = stage->execute(opening_plan(sampling));
  ASSERT_EQ(result.samples.size(), 1);
  EXPECT_EQ(result.samples[0].refusal, "a simulated pipeline does not keep to it");
  EXPECT_FALSE(result.samples[0].token.has_value());
}

TEST(SimulatedStage, RefusesAPlanThatContradictsItsBlockTables) {
  const auto stage = load();
  ASSERT_TRUE(stage->start_epoch(1, {}, 10).ok());
  BatchPlan plan = opening_plan();
  plan.chunks[0].new_blocks = {10};
  EXPECT_THAT(stage->execute(plan).error, HasSubstr("stage 0: sequence 1: block 10 of 10"));
  EXPECT_NE(stage->execute(opening_plan()).error, "") << "the epoch is over";
  ASSERT_TRUE(stage->start_epoch(2, {}, 10).ok());
  EXPECT_EQ(stage->execute(opening_plan()).error, "");
}

TEST(SimulatedStage, StagesAreJoinedByLinksWithoutBytes) {
  const auto first = load(0, 2);
  const auto last = load(1, 2);
  auto [from, to] = in_process_link();
  StageLinks first_links;
  StageLinks last_links;
  first_links.to_next.push_back(std::move(from));
  last_links.from_previous.push_back(std::move(to));
  ASSERT_TRUE(first->start_epoch(1, std::move(first_links), 10).ok());
  ASSERT_TRUE(last->start_epoch(1, std::move(last_links), 10).ok());
  EXPECT_FALSE(last->start_epoch(2, {}, 10).ok()) << "a link is missing";
  EXPECT_NE(first->execute(opening_plan()).error, "") << "the next stage closed it";
}

TEST(SimulatedStage, TakesTheTimeItIsTold) {
  const auto stage =
      load(0, 1, {.step = std::chrono::milliseconds(20), .token = std::chrono::milliseconds(10)});
  ASSERT_TRUE(stage->start_epoch(1, {}, 10).ok());
  EXPECT_GE(stage->execute(opening_plan()).timing.compute_ns, 50'000'000);
}

TEST(SimulatedStage, AnEndedEpochEndsTheWait) {
  const auto stage = load(0, 1, {.step = std::chrono::minutes(1), .token = {}});
  ASSERT_TRUE(stage->start_epoch(1, {}, 10).ok());
  auto running = std::async(std::launch::async, [&] { return stage->execute(opening_plan()); });
  stage->abort_epoch();
  ASSERT_EQ(running.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_NE(running.get().error, "");
}

}  // namespace
}  // namespace octet::worker
