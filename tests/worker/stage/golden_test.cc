// What transformers says, through whole pipelines of every shape.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>

#include "tests/worker/stage/generate.h"
#include "tests/worker/stage/golden_cases.h"

namespace octet::worker {
namespace {

// fp32 activations on the checkpoint's own weights differ from transformers by the order of additions only;
// bf16 ones are rounded before each linear layer, and keys and values in the cache, which moves the
// log-probabilities of unlikely tokens most: of all 3,568, 156 by more than 0.05, 4 by more than 0.3.
struct Arithmetic {
  WeightOptions weights;
  double tolerance;        // of the log-probability of a token that the model chose
  double other_tolerance;  // of another one's: a prompt's token, an alternative
  double mean_tolerance;   // of all, on average
  const char* name;
};
constexpr Arithmetic kFp32 = {{.activations = ActivationType::kFloat32}, 2e-3, 2e-3, 2e-4, "fp32"};
constexpr Arithmetic kBf16 = {{}, 5e-2, 1.5, 1.5e-2, "bf16"};

// The prompt's tokens but the first, then the generated ones.
std::vector<ScoredToken> all_scored(const TestOutput& output) {
  std::vector<ScoredToken> scored = output.prompt_logprobs;
  scored.insert(scored.end(), output.tokens.begin(), output.tokens.end());
  return scored;
}

void expect_golden(const TestOutput& output, const GoldenCase& golden, const Arithmetic& arithmetic) {
  ASSERT_EQ(output.tokens.size(), golden.output.size());
  for (size_t i = 0; i < golden.output.size(); ++i) ASSERT_EQ(output.tokens[i].token, golden.output[i]) << i;

  ASSERT_EQ(output.prompt_logprobs.size() + 1, golden.prompt.size());
  const std::vector<ScoredToken> scored = all_scored(output);
  ASSERT_EQ(scored.size(), golden.logprobs.size());
  for (size_t i = 0; i < scored.size(); ++i) {
    const bool generated = i >= output.prompt_logprobs.size();
    EXPECT_NEAR(scored[i].logprob, golden.logprobs[i],
                generated ? arithmetic.tolerance : arithmetic.other_tolerance)
        << i;
  }
  for (size_t i = 0; i < output.prompt_logprobs.size(); ++i) {
    EXPECT_EQ(output.prompt_logprobs[i].token, golden.prompt[i + 1]) << i;
  }

  // Unlikely alternatives that are close to each other may change places.
  if (arithmetic.tolerance == arithmetic.other_tolerance) {
    EXPECT_EQ(output.tokens[0].top_tokens, golden.first_top_tokens);
  }
  for (size_t i = 0; i < golden.first_top_logprobs.size(); ++i) {
    EXPECT_NEAR(output.tokens[0].top_logprobs[i], golden.first_top_logprobs[i],
                i == 0 ? arithmetic.tolerance : arithmetic.other_tolerance)
        << i;
  }
}

class GoldenShapes : public testing::TestWithParam<std::tuple<int, int, Arithmetic>> {};

TEST_P(GoldenShapes, GreedyTokensAndLogprobsAreThoseOfTransformers) {
  const std::vector<GoldenCase> cases = read_golden_cases();
  ASSERT_EQ(cases.size(), 72u);
  std::vector<TestRequest> requests;
  for (const GoldenCase& golden : cases) requests.push_back({golden.prompt, greedy_with_logprobs()});
  const auto& [num_stages, num_ranks, arithmetic] = GetParam();
  Pipeline pipeline(num_stages, num_ranks, arithmetic.weights);
  const std::vector<TestOutput> outputs = generate(pipeline, requests);
  double sum = 0;
  size_t count = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    expect_golden(outputs[i], cases[i], arithmetic);
    const std::vector<ScoredToken> scored = all_scored(outputs[i]);
    for (size_t k = 0; k < scored.size(); ++k) sum += std::abs(scored[k].logprob - cases[i].logprobs[k]);
    count += scored.size();
  }
  EXPECT_LE(sum / static_cast<double>(count), arithmetic.mean_tolerance);
}

std::vector<std::tuple<int, int, Arithmetic>> all_shapes() {
  std::vector<std::tuple<int, int, Arithmetic>> shapes;
  for (const Arithmetic& arithmetic : {kFp32, kBf16}) {
    for (const auto& [num_stages, num_ranks] : {std::pair(1, 1), {2, 1}, {2, 2}, {4, 2}, {8, 1}, {2, 8}}) {
      shapes.emplace_back(num_stages, num_ranks, arithmetic);
    }
  }
  return shapes;
}

std::string name_of_shape(const testing::TestParamInfo<GoldenShapes::ParamType>& shape) {
  const auto& [num_stages, num_ranks, arithmetic] = shape.param;
  return std::to_string(num_stages) + "x" + std::to_string(num_ranks) + "_" + arithmetic.name;
}

INSTANTIATE_TEST_SUITE_P(StagesAndRanks, GoldenShapes, testing::ValuesIn(all_shapes()), name_of_shape);

}  // namespace
}  // namespace octet::worker
