// What int8 and fp8 weights, quantised at load or by the checkpoint, cost in greedy tokens.
#include <gtest/gtest.h>

#include "tests/worker/checkpoint/checkpoint_writer.h"
#include "tests/worker/model/fp8_checkpoint.h"
#include "tests/worker/stage/generate.h"
#include "tests/worker/stage/golden_cases.h"

namespace octet::worker {
namespace {

// The share of the golden cases' output tokens that are the most likely next ones after the golden tokens
// before them, so that one other choice does not count for all that follow.
double agreement(const StageConfig& config) {
  const std::vector<GoldenCase> cases = read_golden_cases();
  std::vector<TestRequest> requests;
  for (const GoldenCase& golden : cases) {
    TestRequest request{golden.prompt, greedy_with_logprobs(), 1};
    request.prompt.insert(request.prompt.end(), golden.output.begin(), golden.output.end());
    requests.push_back(std::move(request));
  }
  Pipeline pipeline(config);
  const std::vector<TestOutput> outputs = generate(pipeline, requests);
  size_t num_tokens = 0;
  size_t num_same = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    // The i-th log-probability of a prompt is of its token i + 1.
    const size_t first = cases[i].prompt.size() - 1;
    for (size_t t = 0; t < cases[i].output.size(); ++t) {
      num_same += outputs[i].prompt_logprobs.at(first + t).top_tokens.at(0) == cases[i].output[t] ? 1 : 0;
    }
    num_tokens += cases[i].output.size();
  }
  return static_cast<double>(num_same) / static_cast<double>(num_tokens);
}

double agreement(kernels::WeightFormat format, int num_ranks) {
  StageConfig config = nano_config(1, num_ranks);
  config.weights.format = format;
  return agreement(config);
}

TEST(GreedyTokens, Bf16WeightsKeepAll) {
  EXPECT_EQ(agreement(kernels::WeightFormat::kBFloat16, 1), 1);
}

TEST(GreedyTokens, Int8WeightsKeep95Percent) {
  for (const int num_ranks : {1, 2, 8}) {
    const double share = agreement(kernels::WeightFormat::kInt8, num_ranks);
    EXPECT_GE(share, 0.95) << num_ranks;
    RecordProperty("agreement_tp" + std::to_string(num_ranks), std::to_string(share));
  }
}

TEST(GreedyTokens, Fp8WeightsKeep95Percent) {
  for (const int num_ranks : {1, 2, 8}) {
    const double share = agreement(kernels::WeightFormat::kFloat8, num_ranks);
    EXPECT_GE(share, 0.95) << num_ranks;
    RecordProperty("agreement_tp" + std::to_string(num_ranks), std::to_string(share));
  }
}

TEST(GreedyTokens, AnFp8CheckpointKeeps95Percent) {
  TemporaryFolder folder;
  write_fp8_checkpoint(folder, ScaleShape::kScalar);
  for (const int num_ranks : {1, 2, 8}) {
    StageConfig config = nano_config(1, num_ranks);
    config.model_dir = folder.path();
    const double share = agreement(config);
    EXPECT_GE(share, 0.95) << num_ranks;
    RecordProperty("agreement_tp" + std::to_string(num_ranks), std::to_string(share));
  }
}

}  // namespace
}  // namespace octet::worker
