// The real stage, model and sampler on emulated GPUs, one a stage.
#include <gtest/gtest.h>

#include <numeric>

#include "kernels/cuda/cuda_backend.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/worker/stage/generate.h"
#include "tests/worker/stage/golden_cases.h"

namespace octet::worker {
namespace {

// Stages and ranks of each.
class CudaStages : public testing::TestWithParam<std::pair<int, int>> {
 protected:
  static int num_devices() { return GetParam().first * GetParam().second; }
  void SetUp() override { cuda_emulator::reset(num_devices(), size_t{512} << 20); }

  static StageConfig config() {
    StageConfig config = nano_config(GetParam().first, GetParam().second);
    config.backend = "cuda";
    config.weights.activations = ActivationType::kFloat32;
    config.kv_cache_bytes = 160 << 20;
    return config;
  }
  static absl::StatusOr<std::vector<std::unique_ptr<kernels::Backend>>> make_ranks(
      const StageConfig& config) {
    std::vector<int> devices(static_cast<size_t>(config.num_ranks));
    std::iota(devices.begin(), devices.end(), config.stage * config.num_ranks);
    return kernels::make_cuda_ranks(devices);
  }
};

TEST_P(CudaStages, GiveTheGoldenTokensAndLogprobs) {
  std::vector<GoldenCase> cases = read_golden_cases();
  cases.resize(1);
  std::vector<TestRequest> requests;
  for (GoldenCase& golden : cases) {
    golden.output.resize(std::min<size_t>(golden.output.size(), 6));  // an emulated device is slow
    requests.push_back({golden.prompt, greedy_with_logprobs(), static_cast<uint32_t>(golden.output.size())});
  }
  Pipeline pipeline(config(), make_ranks);
  const std::vector<TestOutput> outputs = generate(pipeline, requests);
  EXPECT_EQ(cuda_emulator::first_fault(), "");
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    const GoldenCase& golden = cases[i];
    ASSERT_EQ(outputs[i].tokens.size(), golden.output.size());
    ASSERT_EQ(outputs[i].prompt_logprobs.size() + 1, golden.prompt.size());
    for (size_t k = 0; k + 1 < golden.prompt.size(); ++k) {
      EXPECT_NEAR(outputs[i].prompt_logprobs[k].logprob, golden.logprobs[k], 2e-3) << k;
    }
    for (size_t k = 0; k < golden.output.size(); ++k) {
      EXPECT_EQ(outputs[i].tokens[k].token, golden.output[k]) << k;
      EXPECT_NEAR(outputs[i].tokens[k].logprob, golden.logprobs[golden.prompt.size() - 1 + k], 2e-3) << k;
    }
  }
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

INSTANTIATE_TEST_SUITE_P(StagesAndRanks, CudaStages,
                         testing::Values(std::pair(1, 1), std::pair(2, 1), std::pair(2, 2)));

}  // namespace
}  // namespace octet::worker
