#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "tests/worker/sampling/sampler_oracle.h"
#include "worker/sampling/sampler.h"

namespace octet::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<float> random_logits(uint32_t vocab_size) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(vocab_size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

TEST(ScoreToken, IsTheLogSoftmaxOfTheLogits) {
  const std::vector<float> logits = random_logits(1600);
  const std::vector<double> expected = oracle_logprobs(logits);
  SamplerWorkspace workspace(1600);
  for (const TokenId token : {0, 1, 799, 1599}) {
    const std::optional<ScoredToken> scored = score_token(logits, token, 0, workspace);
    ASSERT_TRUE(scored.has_value());
    EXPECT_EQ(scored->token, token);
    EXPECT_NEAR(scored->logprob, expected[token], 1e-6);
    EXPECT_THAT(scored->top_tokens, IsEmpty());
  }
}

TEST(ScoreToken, ListsTheLikeliestFirst) {
  const std::vector<float> logits = random_logits(1600);
  const std::vector<double> expected = oracle_logprobs(logits);
  const std::vector<TokenId> ranking = oracle_ranking(expected);
  SamplerWorkspace workspace(1600);
  for (const uint32_t num_top : {1, 5, 20, 1599, 1600, 5000}) {
    const std::optional<ScoredToken> scored = score_token(logits, 3, num_top, workspace);
    ASSERT_EQ(scored->top_tokens.size(), std::min(num_top, 1600U));
    ASSERT_EQ(scored->top_logprobs.size(), scored->top_tokens.size());
    for (size_t i = 0; i < scored->top_tokens.size(); ++i) {
      EXPECT_EQ(scored->top_tokens[i], ranking[i]);
      EXPECT_NEAR(scored->top_logprobs[i], expected[ranking[i]], 1e-6);
    }
  }
}

TEST(ScoreToken, PutsEqualOnesInOrderOfTheirIds) {
  SamplerWorkspace workspace(6);
  const std::vector<float> logits = {1, 2, 2, 0, 2, 1};
  EXPECT_THAT(score_token(logits, 0, 5, workspace)->top_tokens, ElementsAre(1, 2, 4, 0, 5));
}

TEST(ScoreToken, HoldsForLogitsAtTheEndsOfTheRange) {
  constexpr float kMax = std::numeric_limits<float>::max();
  SamplerWorkspace workspace(3);
  EXPECT_EQ(score_token(std::vector<float>{kMax, -kMax, 0}, 0, 0, workspace)->logprob, 0);
  EXPECT_NEAR(score_token(std::vector<float>{kMax, kMax, -kMax}, 1, 0, workspace)->logprob, std::log(0.5),
              1e-6);
}

TEST(ScoreToken, RefusesLogitsThatAreNotFinite) {
  SamplerWorkspace workspace(3);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (size_t i = 0; i < 3; ++i) {
      std::vector<float> logits = {1, 2, 3};
      logits[i] = bad;
      EXPECT_FALSE(score_token(logits, 0, 1, workspace).has_value());
    }
  }
}

}  // namespace
}  // namespace octet::worker
