// The real stage, model and sampler on emulated GPUs, which hand activations over among themselves.
#include <gtest/gtest.h>

#include <numeric>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/sample_plan.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/worker/stage/generate.h"
#include "tests/worker/stage/golden_cases.h"

namespace octet::worker {
namespace {

struct Shape {
  int num_stages;
  int num_ranks;
  ActivationType activations;
  double tolerance;  // of the log-probabilities of generated tokens
  std::optional<kernels::WeightFormat> weights = std::nullopt;
};
constexpr auto kFp32 = ActivationType::kFloat32;
constexpr auto kBf16 = ActivationType::kBFloat16;

class CudaStages : public testing::TestWithParam<Shape> {
 protected:
  static int num_devices() { return GetParam().num_stages * GetParam().num_ranks; }
  void SetUp() override { cuda_emulator::reset(num_devices(), size_t{512} << 20); }

  static StageConfig config() {
    StageConfig config = nano_config(GetParam().num_stages, GetParam().num_ranks);
    config.backend = "cuda";
    config.weights.activations = GetParam().activations;
    config.weights.format = GetParam().weights;
    config.kv_cache_bytes = 160 << 20;
    config.step_timeout = std::chrono::minutes(10);  // an emulated device is slow
    return config;
  }
  static absl::StatusOr<std::vector<std::unique_ptr<kernels::Backend>>> make_ranks(
      const StageConfig& config) {
    std::vector<int> devices(static_cast<size_t>(config.num_ranks));
    std::iota(devices.begin(), devices.end(), config.stage * config.num_ranks);
    kernels::CudaOptions options;
    if (config.deterministic) options.determinism = kernels::Determinism::kDeterministic;
    options.step_timeout = config.step_timeout;
    return kernels::make_cuda_ranks(devices, options);
  }
};

TEST_P(CudaStages, GiveTheGoldenTokensAndLogprobs) {
  std::vector<GoldenCase> cases = read_golden_cases();
  cases.resize(GetParam().activations == kFp32 ? 1 : 3);
  std::vector<TestRequest> requests;
  for (GoldenCase& golden : cases) {
    golden.output.resize(std::min<size_t>(golden.output.size(), 6));  // an emulated device is slow
    requests.push_back({golden.prompt, greedy_with_logprobs(), static_cast<uint32_t>(golden.output.size())});
  }
  Pipeline pipeline(config(), make_ranks);
  const std::vector<TestOutput> outputs = generate(pipeline, requests);
  EXPECT_EQ(cuda_emulator::first_fault(), "");
  EXPECT_GT(cuda_emulator::num_graph_launches(), 0);
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    const GoldenCase& golden = cases[i];
    ASSERT_EQ(outputs[i].tokens.size(), golden.output.size());
    ASSERT_EQ(outputs[i].prompt_logprobs.size() + 1, golden.prompt.size());
    // Rounding moves the log-probabilities of unlikely tokens more.
    const double prompt_tolerance =
        GetParam().activations == kFp32 ? GetParam().tolerance : 10 * GetParam().tolerance;
    for (size_t k = 0; k + 1 < golden.prompt.size(); ++k) {
      EXPECT_NEAR(outputs[i].prompt_logprobs[k].logprob, golden.logprobs[k], prompt_tolerance) << k;
    }
    for (size_t k = 0; k < golden.output.size(); ++k) {
      EXPECT_EQ(outputs[i].tokens[k].token, golden.output[k]) << k;
      EXPECT_NEAR(outputs[i].tokens[k].logprob, golden.logprobs[golden.prompt.size() - 1 + k],
                  GetParam().tolerance)
          << k;
    }
  }
}

// What would take long in fp32, whose kernels are slower on an emulated device.
class Bf16CudaStages : public CudaStages {};

TEST_P(Bf16CudaStages, GiveARequestTheSameBitsAloneAndInABatchWhereTheyAreDeterministic) {
  StageConfig deterministic = config();
  deterministic.deterministic = true;
  std::vector<TestRequest> requests;
  for (const GoldenCase& golden : read_golden_cases()) {
    std::vector<TokenId> prompt(golden.prompt.begin(),
                                golden.prompt.begin() + std::min<ptrdiff_t>(11, std::ssize(golden.prompt)));
    requests.push_back({prompt, greedy_with_logprobs(), 3});
    if (requests.size() == 3) break;
  }
  Pipeline pipeline(deterministic, make_ranks);
  const std::vector<TestOutput> together = generate(pipeline, requests, {.chunk_size = 7});
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_TRUE(same_bits(generate(pipeline, {requests[i]}).front(), together[i])) << "request " << i;
  }
  EXPECT_EQ(cuda_emulator::first_fault(), "");
}

// Of the one rank that samples; activations go from device to device.
TEST_P(Bf16CudaStages, BringNothingToTheHostButTheSampledTokens) {
  const GoldenCase golden = read_golden_cases().front();
  SamplingParams greedy = greedy_with_logprobs();
  greedy.prompt_logprobs.reset();
  Pipeline pipeline(config(), make_ranks);
  const size_t before = cuda_emulator::downloaded_bytes();
  ASSERT_EQ(generate(pipeline, {{golden.prompt, greedy, 2}}).front().tokens.size(), 2u);
  EXPECT_EQ(cuda_emulator::downloaded_bytes() - before, 2 * sizeof(kernels::cuda::RowResult));
}

TEST_P(CudaStages, GiveAllTheirMemoryBack) {
  { Pipeline pipeline(config(), make_ranks); }
  EXPECT_EQ(cuda_emulator::allocated_bytes(), 0u);
}

TEST_P(CudaStages, SayWhatThereIsNoMemoryFor) {
  cuda_emulator::reset(num_devices(), 1 << 18);
  const auto stage = Stage::load(config(), make_ranks);
  EXPECT_EQ(stage.status().code(), absl::StatusCode::kResourceExhausted) << stage.status();
}

TEST_P(CudaStages, FillTheirMemoryWithTheCache) {
  StageConfig filling = config();
  filling.kv_cache_bytes.reset();
  const auto stage = Stage::load(filling, make_ranks);
  ASSERT_TRUE(stage.ok()) << stage.status();
  const auto total = static_cast<size_t>(GetParam().num_ranks) * (size_t{512} << 20);
  EXPECT_LE(cuda_emulator::allocated_bytes(), total * 31 / 32);
  EXPECT_GE(cuda_emulator::allocated_bytes(), total * 30 / 32);
}

class TwoCudaStages : public CudaStages {};

TEST_P(TwoCudaStages, AnAbortWakesAStageWhoseNeighbourDoesNotConnectAndTheNextEpochServes) {
  Pipeline pipeline(config(), make_ranks);
  StageLinks links;
  std::vector<std::unique_ptr<Link>> other_ends;
  for (int rank = 0; rank < GetParam().num_ranks; ++rank) {
    auto [from, to] = in_process_link();
    links.to_next.push_back(std::move(from));
    other_ends.push_back(std::move(to));
  }
  Stage& stage = pipeline.stage(0);
  ASSERT_TRUE(stage.start_epoch(1, std::move(links), 64).ok());
  const auto connect = [&stage] { return stage.connect(now() + std::chrono::minutes(1)); };
  auto connected = std::async(std::launch::async, connect);
  EXPECT_EQ(connected.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  stage.abort_epoch();
  EXPECT_EQ(connected.get().message(), "the epoch was aborted");
  EXPECT_EQ(connect().message(), "the epoch was aborted");

  const GoldenCase golden = read_golden_cases().front();
  const auto outputs = generate(pipeline, {{golden.prompt, greedy_with_logprobs(), 1}});
  EXPECT_EQ(outputs.front().tokens.at(0).token, golden.output.front());
}

std::string shape_name(const testing::TestParamInfo<Shape>& param) {
  const Shape& shape = param.param;
  return std::to_string(shape.num_stages) + "x" + std::to_string(shape.num_ranks) +
         (shape.activations == kFp32 ? "Fp32" : "Bf16") + (shape.weights ? "Fp8Weights" : "");
}

constexpr Shape kFp8Shape = {1, 2, kBf16, 1e-1, kernels::WeightFormat::kFloat8};

INSTANTIATE_TEST_SUITE_P(Shapes, CudaStages,
                         testing::Values(Shape{1, 1, kFp32, 2e-3}, Shape{2, 2, kFp32, 2e-3},
                                         Shape{1, 1, kBf16, 5e-2}, Shape{2, 2, kBf16, 5e-2},
                                         Shape{2, 8, kBf16, 5e-2}, kFp8Shape),
                         shape_name);
INSTANTIATE_TEST_SUITE_P(Shapes, TwoCudaStages, testing::Values(Shape{2, 2, kBf16, 5e-2}), shape_name);
INSTANTIATE_TEST_SUITE_P(Shapes, Bf16CudaStages, testing::Values(Shape{2, 2, kBf16, 5e-2}, kFp8Shape),
                         shape_name);

}  // namespace
}  // namespace octet::worker
