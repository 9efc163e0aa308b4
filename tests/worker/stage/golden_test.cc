// What transformers says, through whole pipelines of every shape.
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "tests/worker/stage/generate.h"
#include "tests/worker/stage/golden_cases.h"

namespace octet::worker {
namespace {

constexpr double kTolerance = 2e-3;

void expect_golden(const TestOutput& output, const GoldenCase& golden) {
  ASSERT_EQ(output.tokens.size(), golden.output.size());
  for (size_t i = 0; i < golden.output.size(); ++i) ASSERT_EQ(output.tokens[i].token, golden.output[i]) << i;

  ASSERT_EQ(output.prompt_logprobs.size() + 1, golden.prompt.size());
  std::vector<ScoredToken> scored = output.prompt_logprobs;
  scored.insert(scored.end(), output.tokens.begin(), output.tokens.end());
  ASSERT_EQ(scored.size(), golden.logprobs.size());
  for (size_t i = 0; i < scored.size(); ++i)
    EXPECT_NEAR(scored[i].logprob, golden.logprobs[i], kTolerance) << i;
  for (size_t i = 0; i < output.prompt_logprobs.size(); ++i) {
    EXPECT_EQ(output.prompt_logprobs[i].token, golden.prompt[i + 1]) << i;
  }

  EXPECT_EQ(output.tokens[0].top_tokens, golden.first_top_tokens);
  for (size_t i = 0; i < golden.first_top_logprobs.size(); ++i) {
    EXPECT_NEAR(output.tokens[0].top_logprobs[i], golden.first_top_logprobs[i], kTolerance) << i;
  }
}

class GoldenShapes : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(GoldenShapes, GreedyTokensAndLogprobsAreThoseOfTransformers) {
  const std::vector<GoldenCase> cases = read_golden_cases();
  ASSERT_EQ(cases.size(), 72u);
  std::vector<TestRequest> requests;
  for (const GoldenCase& golden : cases) requests.push_back({golden.prompt, greedy_with_logprobs()});
  Pipeline pipeline(std::get<0>(GetParam()), std::get<1>(GetParam()));
  const std::vector<TestOutput> outputs = generate(pipeline, requests);
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    expect_golden(outputs[i], cases[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(StagesAndRanks, GoldenShapes,
                         testing::Values(std::tuple(1, 1), std::tuple(2, 1), std::tuple(2, 2),
                                         std::tuple(4, 2), std::tuple(8, 1), std::tuple(2, 8)),
                         [](const auto& shape) {
                           return std::to_string(std::get<0>(shape.param)) + "x" +
                                  std::to_string(std::get<1>(shape.param));
                         });

}  // namespace
}  // namespace octet::worker
