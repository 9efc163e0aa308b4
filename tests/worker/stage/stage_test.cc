#include "worker/stage/stage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <future>

#include "base/status.h"
#include "tests/worker/checkpoint/checkpoint_writer.h"
#include "tests/worker/stage/generate.h"
#include "tests/worker/stage/golden_cases.h"

namespace octet::worker {
namespace {

const LinkKey kLinkKey = make_link_key();

using testing::AllOf;
using testing::HasSubstr;

constexpr uint32_t kBlocks = 300;

// A plan that admits sequence 1 with these tokens, computes them all and samples.
BatchPlan opening_plan(std::vector<TokenId> tokens = {4, 329, 22}) {
  BatchPlan plan;
  plan.step = 1;
  AdmittedSequence sequence;
  sequence.id = 1;
  sequence.tokens = tokens;
  sequence.num_prompt_tokens = static_cast<uint32_t>(tokens.size());
  sequence.sampling.temperature = 0;
  plan.admitted.push_back(sequence);
  SequenceChunk chunk;
  chunk.id = 1;
  chunk.new_blocks.assign((tokens.size() + 15) / 16, 7);
  chunk.tokens = std::move(tokens);
  chunk.samples = true;
  plan.chunks.push_back(chunk);
  return plan;
}

// The decode that follows.
BatchPlan next_plan(const StepResult& result, uint32_t position) {
  BatchPlan plan;
  plan.step = result.step + 1;
  SequenceChunk chunk;
  chunk.id = 1;
  chunk.start_position = position;
  chunk.tokens = {result.samples.at(0).token->token};
  chunk.samples = true;
  plan.chunks.push_back(chunk);
  return plan;
}

struct BadPlan {
  std::string name;
  std::function<void(BatchPlan&)> spoil;
  std::string message;
};

class StageBadPlan : public testing::TestWithParam<BadPlan> {
 protected:
  static void SetUpTestSuite() { pipeline_ = new Pipeline(2, 2); }
  static void TearDownTestSuite() { delete pipeline_; }
  static Pipeline* pipeline_;
};
Pipeline* StageBadPlan::pipeline_ = nullptr;

// Each plan is wrong in one way. The first stage refuses it, and the stages serve the next epoch.
TEST_P(StageBadPlan, IsAnErrorAndTheNextEpochServes) {
  ASSERT_TRUE(pipeline_->start_epoch(kBlocks).ok());
  BatchPlan plan = opening_plan();
  GetParam().spoil(plan);
  const StepResult result = pipeline_->stage(0).execute(plan);
  EXPECT_THAT(result.error, AllOf(HasSubstr("stage 0: "), HasSubstr(GetParam().message)));
  EXPECT_TRUE(result.samples.empty());
  EXPECT_NE(pipeline_->execute(opening_plan()).error, "") << "the epoch is over";
  EXPECT_NE(pipeline_->stage(1).execute(opening_plan()).error, "") << "the next stage notices";

  ASSERT_TRUE(pipeline_->start_epoch(kBlocks).ok());
  EXPECT_EQ(pipeline_->execute(opening_plan()).error, "");
}

// The same plan for the last stage, where samplers are made.
TEST_P(StageBadPlan, IsAnErrorOnTheLastStageToo) {
  ASSERT_TRUE(pipeline_->start_epoch(kBlocks).ok());
  BatchPlan plan = opening_plan();
  GetParam().spoil(plan);
  EXPECT_THAT(pipeline_->stage(1).execute(plan).error,
              AllOf(HasSubstr("stage 1: "), HasSubstr(GetParam().message)));
}

const BadPlan kBadPlans[] = {
    {"UnknownSequence", [](BatchPlan& p) { p.chunks[0].id = 9; }, "sequence 9: was not admitted"},
    {"ReleasedSequence",
     [](BatchPlan& p) {
       p.released = {1};
       p.admitted.clear();
     },
     "sequence 1: was not admitted"},
    {"NotAdmitted", [](BatchPlan& p) { p.admitted.clear(); }, "sequence 1: was not admitted"},
    {"CachedBlockOutsideTheCache",
     [](BatchPlan& p) {
       p = opening_plan(std::vector<TokenId>(17, 4));
       p.admitted[0].cached_blocks = {kBlocks};
     },
     "sequence 1: block 300 of 300"},
    {"NothingLeftToCompute",
     [](BatchPlan& p) {
       p = opening_plan(std::vector<TokenId>(16, 4));
       p.admitted[0].cached_blocks = {5};
     },
     "sequence 1: 1 cached blocks of 16 tokens leave nothing of its 16 tokens to compute"},
    {"StartsInsideItsCachedBlocks",
     [](BatchPlan& p) {
       p = opening_plan(std::vector<TokenId>(17, 4));
       p.admitted[0].cached_blocks = {5};
     },
     "starts at position 0, expected 16"},
    {"WrongStep", [](BatchPlan& p) { p.step = 2; }, "plan of step 2 opens the epoch"},
    {"WrongStart", [](BatchPlan& p) { p.chunks[0].start_position = 1; }, "starts at position 1, expected 0"},
    {"HugeStart", [](BatchPlan& p) { p.chunks[0].start_position = UINT32_MAX; },
     "starts at position 4294967295"},
    {"NoTokens", [](BatchPlan& p) { p.chunks[0].tokens.clear(); }, "its chunk has no tokens"},
    {"PastItsTokens", [](BatchPlan& p) { p.chunks[0].tokens.resize(4); },
     "ends at position 4, past its 3 tokens"},
    {"SamplesTooEarly", [](BatchPlan& p) { p.chunks[0].tokens.resize(2); },
     "samples at position 2 of 3 tokens"},
    {"TwoChunks",
     [](BatchPlan& p) {
       p.chunks[0].tokens.resize(1);
       p.chunks[0].samples = false;
       p.chunks.push_back(p.chunks[0]);
       p.chunks[1].start_position = 1;
     },
     "has two chunks in one plan"},
    {"BlockOutOfRange", [](BatchPlan& p) { p.chunks[0].new_blocks = {kBlocks}; }, "block 300 of 300"},
    {"HugeBlock", [](BatchPlan& p) { p.chunks[0].new_blocks = {UINT32_MAX}; }, "block 4294967295 of 300"},
    {"NoBlocks", [](BatchPlan& p) { p.chunks[0].new_blocks.clear(); }, "has 0 blocks, needs 1"},
    {"TooManyBlocks", [](BatchPlan& p) { p.chunks[0].new_blocks.assign(257, 0); },
     "has 257 blocks, needs 1, limit 256"},
    {"ChunkTokenOutside", [](BatchPlan& p) { p.chunks[0].tokens[1] = 1600; },
     "token 1600 is outside the vocabulary"},
    {"AdmittedTokenOutside", [](BatchPlan& p) { p.admitted[0].tokens[1] = UINT32_MAX; },
     "token 4294967295 is outside"},
    {"NoAdmittedTokens", [](BatchPlan& p) { p.admitted[0].tokens.clear(); }, "admitted with 0 tokens"},
    {"TooManyAdmittedTokens", [](BatchPlan& p) { p.admitted[0].tokens.resize(4097); },
     "admitted with 4097 tokens"},
    {"NoPrompt", [](BatchPlan& p) { p.admitted[0].num_prompt_tokens = 0; },
     "0 of its 3 tokens are the prompt"},
    {"PromptTooLong", [](BatchPlan& p) { p.admitted[0].num_prompt_tokens = 4; },
     "4 of its 3 tokens are the prompt"},
    {"LogprobRowsBackwards", [](BatchPlan& p) { p.chunks[0].first_prompt_logprob_row = 1; }, "rows [1, 0)"},
    {"LogprobRowsPastThePrompt", [](BatchPlan& p) { p.chunks[0].end_prompt_logprob_row = 3; }, "rows [0, 3)"},
    {"LogprobRowsPastTheChunk", [](BatchPlan& p) { p.chunks[0].end_prompt_logprob_row = UINT32_MAX; },
     "rows [0, 4294967295)"},
    {"BiasOutside",
     [](BatchPlan& p) {
       p.admitted[0].sampling.logit_bias = {{1600, 1.0f}};
     },
     "logit_bias"},
    {"SuppressedOutside", [](BatchPlan& p) { p.admitted[0].sampling.suppressed_before_min_tokens = {1600}; },
     "suppressed_before_min_tokens"},
    {"BadWordOutside",
     [](BatchPlan& p) {
       p.admitted[0].sampling.bad_words = {{5, 1600}};
     },
     "bad_words"},
    {"EmptyBadWord", [](BatchPlan& p) { p.admitted[0].sampling.bad_words = {{}}; }, "bad_words"},
    {"TooManyAlternatives", [](BatchPlan& p) { p.admitted[0].sampling.prompt_logprobs = 1601; },
     "sequence 1: asks for 1601 alternatives, limit 1600"},
    {"TooManyRows",
     [](BatchPlan& p) {
       for (SequenceId id = 2; id < 2050; ++id) {
         p.chunks.push_back(p.chunks[0]);
         p.chunks.back().id = id;
         p.chunks.back().tokens = {4};
       }
     },
     "2051 rows, limit 2048"},
    {"TooManySequences",
     [](BatchPlan& p) {
       for (SequenceId id = 2; id < 65538; ++id) {
         p.admitted.push_back(p.admitted[0]);
         p.admitted.back().id = id;
       }
     },
     "65537 sequences, limit 65536"},
};

INSTANTIATE_TEST_SUITE_P(All, StageBadPlan, testing::ValuesIn(kBadPlans),
                         [](const auto& plan) { return plan.param.name; });

class StageTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { pipeline_ = new Pipeline(1, 2); }
  static void TearDownTestSuite() { delete pipeline_; }
  void SetUp() override { ASSERT_TRUE(pipeline_->start_epoch(kBlocks).ok()); }

  static Pipeline* pipeline_;
};
Pipeline* StageTest::pipeline_ = nullptr;

TEST_F(StageTest, StepsFollowEachOther) {
  const StepResult first = pipeline_->execute(opening_plan());
  ASSERT_EQ(first.error, "");
  const StepResult second = pipeline_->execute(next_plan(first, 3));
  EXPECT_EQ(second.error, "");
  EXPECT_EQ(second.step, 2u);
  BatchPlan skipped = next_plan(second, 4);
  skipped.step = 4;
  EXPECT_THAT(pipeline_->execute(skipped).error, HasSubstr("plan of step 4 after step 2"));
}

TEST_F(StageTest, AWarmUpIsAPlanLikeAnyOther) {
  BatchPlan plan = opening_plan();
  plan.step = 0;
  const StepResult warm_up = pipeline_->execute(plan);
  EXPECT_EQ(warm_up.error, "");
  EXPECT_EQ(warm_up.samples.size(), 1u);
  BatchPlan release;
  release.step = 1;
  release.released = {1, 77};  // 77 was never admitted
  const StepResult released = pipeline_->execute(release);
  EXPECT_EQ(released.error, "");
  EXPECT_TRUE(released.samples.empty());
}

TEST_F(StageTest, ANewAdmissionVoidsTheOldState) {
  const StepResult first = pipeline_->execute(opening_plan({4, 329, 22}));
  BatchPlan again = opening_plan({5, 328, 22, 343});
  again.step = 2;
  const StepResult second = pipeline_->execute(again);
  EXPECT_EQ(second.error, "");
  ASSERT_TRUE(pipeline_->start_epoch(kBlocks).ok());
  again.step = 1;
  EXPECT_EQ(pipeline_->execute(again).samples[0].token, second.samples[0].token);
}

TEST_F(StageTest, ANewEpochForgetsTheSequences) {
  const StepResult first = pipeline_->execute(opening_plan());
  ASSERT_TRUE(pipeline_->start_epoch(kBlocks).ok());
  BatchPlan plan = next_plan(first, 3);
  plan.step = 1;
  EXPECT_THAT(pipeline_->execute(plan).error, HasSubstr("was not admitted"));
}

TEST_F(StageTest, ReturnsPromptLogprobsWithoutSampling) {
  BatchPlan plan = opening_plan({4, 329, 22, 22});
  plan.admitted[0].sampling.prompt_logprobs = 3;
  plan.chunks[0].tokens.resize(3);
  plan.chunks[0].samples = false;
  plan.chunks[0].first_prompt_logprob_row = 1;
  plan.chunks[0].end_prompt_logprob_row = 3;
  const StepResult result = pipeline_->execute(plan);
  ASSERT_EQ(result.error, "");
  ASSERT_EQ(result.samples.size(), 1u);
  EXPECT_FALSE(result.samples[0].token);
  ASSERT_EQ(result.samples[0].prompt_logprobs.size(), 2u);
  EXPECT_EQ(result.samples[0].prompt_logprobs[0].token, 22u);
  EXPECT_EQ(result.samples[0].prompt_logprobs[0].top_tokens.size(), 3u);
}

TEST_F(StageTest, FillsTheTimingOfAStep) {
  const StepTiming timing = pipeline_->execute(opening_plan()).timing;
  EXPECT_GT(timing.compute_ns, 0u);
  EXPECT_EQ(timing.sent_bytes, 0u);
  Pipeline two(2, 2);
  ASSERT_TRUE(two.start_epoch(kBlocks).ok());
  EXPECT_EQ(two.stage(0).execute(opening_plan()).timing.sent_bytes, 3u * 128 * 4);
}

TEST_F(StageTest, AbortEndsTheEpochUntilTheNextStarts) {
  pipeline_->stage(0).abort_epoch();
  EXPECT_THAT(pipeline_->execute(opening_plan()).error, HasSubstr("aborted"));
  ASSERT_TRUE(pipeline_->start_epoch(kBlocks).ok());
  EXPECT_EQ(pipeline_->execute(opening_plan()).error, "");
}

TEST_F(StageTest, RefusesAnEpochItCannotServe) {
  Stage& stage = pipeline_->stage(0);
  EXPECT_TRUE(absl::IsInvalidArgument(stage.start_epoch(9, {}, 0)));
  EXPECT_TRUE(absl::IsInvalidArgument(stage.start_epoch(9, {}, stage.shape().num_blocks + 1)));
  StageLinks links;
  links.to_next.push_back(in_process_link().first);
  EXPECT_TRUE(absl::IsInvalidArgument(stage.start_epoch(9, std::move(links), 1)));
  EXPECT_NE(stage.execute(opening_plan()).error, "");
}

TEST(StageWithoutEpoch, RefusesPlans) {
  const auto stage = Stage::load(nano_config()).value();
  EXPECT_THAT(stage->execute(opening_plan()).error, HasSubstr("no epoch has started"));
}

// The last of two stages with two ranks, whose previous stage is the test.
class LastStageTest : public testing::Test {
 protected:
  void load(Duration step_timeout) {
    StageConfig config = nano_config(2, 2);
    config.stage = 1;
    config.step_timeout = step_timeout;
    stage_ = Stage::load(config).value();
    start_epoch();
  }

  void start_epoch() {
    StageLinks links;
    previous_.clear();
    for (int rank = 0; rank < 2; ++rank) {
      auto [from, to] = in_process_link();
      previous_.push_back(std::move(from));
      links.from_previous.push_back(std::move(to));
    }
    ASSERT_TRUE(stage_->start_epoch(1, std::move(links), kBlocks).ok());
  }

  // Hands the rank's share of the activations of opening_plan() over, every value the same.
  void send(size_t rank, uint64_t step, float value, size_t num_values = 3 * 128 / 2) {
    const std::vector<float> hidden(num_values, value);
    ASSERT_TRUE(
        previous_[rank]->send(step, std::as_bytes(std::span(hidden)), now() + std::chrono::seconds(10)).ok());
  }

  std::unique_ptr<Stage> stage_;
  std::vector<std::unique_ptr<Link>> previous_;
};

TEST_F(LastStageTest, ReportsLogitsThatAreNotFinite) {
  load(std::chrono::seconds(10));
  for (size_t rank = 0; rank < 2; ++rank) send(rank, 1, std::numeric_limits<float>::quiet_NaN());
  BatchPlan plan = opening_plan();
  plan.chunks[0].end_prompt_logprob_row = 2;
  const StepResult result = stage_->execute(plan);
  EXPECT_EQ(result.error, "");
  ASSERT_EQ(result.samples.size(), 1u);
  EXPECT_TRUE(result.samples[0].not_finite);
  EXPECT_FALSE(result.samples[0].token);
  EXPECT_TRUE(result.samples[0].prompt_logprobs.empty());
}

TEST_F(LastStageTest, AMissingHandOffEndsTheStepAtItsTimeoutOnAllRanks) {
  load(std::chrono::milliseconds(50));
  EXPECT_THAT(stage_->execute(opening_plan()).error, HasSubstr("stage 1: the peer did not send in time"));
  start_epoch();
  send(0, 1, 0.5f);  // rank 1 waits in vain
  EXPECT_THAT(stage_->execute(opening_plan()).error, HasSubstr("the peer did not send in time"));
}

TEST_F(LastStageTest, OneBadLinkDoesNotHoldTheOtherRanks) {
  load(std::chrono::hours(1));
  send(0, 2, 0.5f);  // another step, so rank 0 fails; rank 1 gets nothing and has an hour
  const StepResult other_step = stage_->execute(opening_plan());
  EXPECT_THAT(other_step.error, HasSubstr("the peer sent step 2"));
  EXPECT_EQ(other_step.timing.compute_ns, 0u) << "no rank computes what not all have received";
  start_epoch();
  send(0, 1, 0.5f);
  send(1, 1, 0.5f, 5);  // another size
  EXPECT_THAT(stage_->execute(opening_plan()).error, HasSubstr("20 bytes; expected step 1, 768 bytes"));
  start_epoch();
  previous_[1].reset();
  EXPECT_THAT(stage_->execute(opening_plan()).error, HasSubstr("the link was closed"));
}

TEST_F(LastStageTest, AbortWakesAStepThatWaits) {
  load(std::chrono::hours(1));
  auto result = std::async(std::launch::async, [&] { return stage_->execute(opening_plan()); });
  stage_->abort_epoch();
  EXPECT_THAT(result.get().error, HasSubstr("aborted"));
  start_epoch();
  for (size_t rank = 0; rank < 2; ++rank) send(rank, 1, 0.5f);
  EXPECT_EQ(stage_->execute(opening_plan()).error, "");
}

TEST(StageOverTcp, GeneratesWhatTransformersSays) {
  Pipeline pipeline(3, 2);
  std::vector<StageLinks> links(3);
  for (size_t i = 0; i + 1 < 3; ++i) {
    const Time deadline = now() + std::chrono::seconds(20);
    const auto listener = TcpLinkListener::listen("localhost", 0).value();
    auto accepted =
        std::async(std::launch::async, [&] { return listener->accept(1, kLinkKey, 2, deadline); });
    links[i].to_next =
        connect_links("localhost:" + std::to_string(listener->port()), 1, kLinkKey, 2, deadline).value();
    links[i + 1].from_previous = accepted.get().value();
  }
  ASSERT_TRUE(pipeline.start_epoch(std::move(links), kBlocks).ok());
  const GoldenCase golden = read_golden_cases()[1];
  StepResult result = pipeline.execute(opening_plan(golden.prompt));
  for (size_t i = 0; i < golden.output.size(); ++i) {
    ASSERT_EQ(result.error, "");
    ASSERT_EQ(result.samples[0].token->token, golden.output[i]) << i;
    const auto position = static_cast<uint32_t>(golden.prompt.size() + i);
    BatchPlan plan = next_plan(result, position);
    if (position % 16 == 0) plan.chunks[0].new_blocks = {100 + position};
    result = pipeline.execute(plan);
  }
}

struct BadFlag {
  std::string name;
  std::function<void(StageConfig&)> spoil;
  std::string message;
};

class StageLoadError : public testing::TestWithParam<BadFlag> {};

TEST_P(StageLoadError, NamesTheFlag) {
  StageConfig config = nano_config(2, 2);
  GetParam().spoil(config);
  const absl::Status status = Stage::load(config).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status) || absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
}

const BadFlag kBadFlags[] = {
    {"NoModel", [](StageConfig& c) { c.model_dir = "deploy/none"; }, "deploy/none/config.json: no such file"},
    {"StageTooHigh", [](StageConfig& c) { c.stage = 2; }, "--stage: must be in [0, --stages 2), given 2"},
    {"StageNegative", [](StageConfig& c) { c.stage = -1; }, "--stage: "},
    {"NoStages", [](StageConfig& c) { c.num_stages = 0; }, "--stages: must be in [1, 8]"},
    {"TooManyStages", [](StageConfig& c) { c.num_stages = 9; }, "--stages: must be in [1, 8]"},
    {"Layers",
     [](StageConfig& c) {
       c.layers_per_stage = {5, 4};
     },
     "--layers-per-stage: must add up to"},
    {"Ranks", [](StageConfig& c) { c.num_ranks = 3; }, "--tp: must divide the model's 16 attention heads"},
    {"NoRanks", [](StageConfig& c) { c.num_ranks = 0; }, "--tp: must be at least 1"},
    {"Threads", [](StageConfig& c) { c.threads_per_rank = -1; },
     "--threads-per-rank: must be in [1, 256], given -1"},
    {"Activations",
     [](StageConfig& c) {
       c.weights = {.format = kernels::WeightFormat::kFloat8, .activations = ActivationType::kFloat32};
     },
     "--activations: fp32 takes the weights as the checkpoint has them, not --weights fp8"},
    {"Backend", [](StageConfig& c) { c.backend = "tpu"; }, "--backend: must be cpu, given tpu"},
    {"BlockSize", [](StageConfig& c) { c.block_size = 0; }, "--block-size: must be in [1, 1024], given 0"},
    {"BatchTokens", [](StageConfig& c) { c.max_batch_tokens = UINT32_MAX; },
     "--max-batch-tokens: must be in [1, 1048576]"},
    {"KvCache", [](StageConfig& c) { c.kv_cache_bytes = 5 << 20; },
     "--kv-cache-mib: one sequence of 4096 tokens needs 8 MiB on this stage, given 5"},
    {"StepTimeout", [](StageConfig& c) { c.step_timeout = Duration::zero(); }, "--step-timeout: "},
};

INSTANTIATE_TEST_SUITE_P(All, StageLoadError, testing::ValuesIn(kBadFlags),
                         [](const auto& flag) { return flag.param.name; });

TEST(StageLoad, TellsWhatItHolds) {
  StageConfig config = nano_config(2, 2);
  config.stage = 1;
  config.kv_cache_bytes = 20 << 20;
  const auto stage = Stage::load(config).value();
  EXPECT_EQ(stage->shape().model.digest(), read_model_config("deploy/nano").value().digest());
  EXPECT_EQ(stage->shape().layers.first, 4);
  EXPECT_EQ(stage->shape().layers.end, 8);
  // 2 x 4 layers x 16 tokens x 8 heads x 16 x 2 bytes = 32 KiB a block.
  EXPECT_EQ(stage->shape().kv_cache_type, kernels::DType::kBFloat16);
  EXPECT_EQ(stage->shape().num_blocks, 640u);
  EXPECT_GT(stage->shape().weight_bytes, 1 << 20);
}

TEST(StageLoad, KeepsTheCacheInFp32WhereNothingIsRounded) {
  StageConfig config = nano_config();
  config.weights.activations = ActivationType::kFloat32;
  EXPECT_EQ(Stage::load(config).value()->shape().kv_cache_type, kernels::DType::kFloat32);
  config.kv_cache_type = kernels::DType::kBFloat16;
  EXPECT_EQ(Stage::load(config).value()->shape().kv_cache_type, kernels::DType::kBFloat16);
  config.weights.activations = ActivationType::kBFloat16;
  config.kv_cache_type = kernels::DType::kFloat32;
  EXPECT_EQ(Stage::load(config).value()->shape().kv_cache_type, kernels::DType::kFloat32);
}

TEST(StageLoad, TakesOnlySlotsThat32BitsCount) {
  StageConfig config = nano_config();
  config.kv_cache_bytes = int64_t{1} << 60;
  const auto stage = Stage::load(config);
  // So much memory is not there, which is no crash either.
  if (!stage.ok()) {
    EXPECT_TRUE(absl::IsResourceExhausted(stage.status())) << stage.status();
  } else {
    EXPECT_LE((*stage)->shape().num_blocks, INT32_MAX / 16u);
  }
}

TEST(StageLoad, NamesFileAndTensorOfABrokenCheckpoint) {
  TemporaryFolder folder;
  std::filesystem::copy("deploy/nano/config.json", folder.file("config.json"));
  std::string content = read_file("deploy/nano/model.safetensors");
  folder.write("model.safetensors", std::string_view(content).substr(0, content.size() / 2));
  StageConfig config = nano_config();
  config.model_dir = folder.path();
  const absl::Status truncated = Stage::load(config).status();
  EXPECT_TRUE(absl::IsInvalidArgument(truncated)) << truncated;
  EXPECT_THAT(std::string(truncated.message()), AllOf(HasSubstr(folder.path()), HasSubstr("truncated")));

  content.replace(content.find("\"lm_head.weight\""), 16, "\"lm_head.WEIGHT\"");
  folder.write("model.safetensors", content);
  const absl::Status missing = Stage::load(config).status();
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_THAT(std::string(missing.message()), HasSubstr("lm_head.weight"));
  config.num_stages = 2;
  EXPECT_TRUE(Stage::load(config).ok()) << "the first of two stages has no LM head";
}

}  // namespace
}  // namespace octet::worker
