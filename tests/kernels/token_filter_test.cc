// Vocabularies of the real size, where the filters take other ways than in small ones.
#include "kernels/cpu/token_filter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "tests/kernels/oracle.h"

namespace octet::kernels {
namespace {

constexpr uint32_t kVocabSize = 256000;

// Like a model's: a few likely tokens, many unlikely ones; rounded so that some are equal.
std::vector<float> row(float scale) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> logits(kVocabSize);
  for (float& logit : logits) logit = std::round(normal(random) * scale * 256) / 256;
  return logits;
}

TEST(SelectLargest, AgreesWithAFullSortHoweverManyAreAsked) {
  const std::vector<float> logits = row(2);
  std::vector<uint32_t> ranking = oracle::ranking(std::vector<double>(logits.begin(), logits.end()));
  std::vector<uint32_t> ids;
  for (const uint32_t count : {0U, 1U, 2U, 50U, 1023U, 1024U, 1025U, 100000U, kVocabSize - 1, kVocabSize}) {
    select_largest(logits, count, ids);
    ASSERT_EQ(ids.size(), count);
    EXPECT_TRUE(std::equal(ids.begin(), ids.end(), ranking.begin())) << count;
  }
}

TEST(TokenFilter, KeepsTheOraclesTokensOfALargeVocabulary) {
  std::vector<double> weights(kVocabSize);
  std::vector<uint32_t> candidates;
  for (const float scale : {0.5F, 4.0F}) {
    const std::vector<float> logits = row(scale);
    const auto best = static_cast<uint32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    for (const auto& [top_k, top_p, min_p] :
         std::vector<std::tuple<uint32_t, float, float>>{{0, 1, 0},
                                                         {50, 1, 0},
                                                         {5000, 1, 0},
                                                         {0, 0.9F, 0},
                                                         {0, 0.999F, 0},
                                                         {0, 1e-6F, 0},
                                                         {1000, 0.5F, 0.001F}}) {
      SampleRow filters;
      filters.top_k = top_k;
      filters.top_p = top_p;
      filters.min_p = min_p;
      const std::vector<double> probabilities =
          oracle::probabilities({logits.begin(), logits.end()}, filters);
      const TokenFilter filter(filters, logits, best, weights, candidates);
      const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
      for (uint32_t id = 0; id < kVocabSize; ++id)
        ASSERT_NEAR(weights[id] / sum, probabilities[id], 1e-12) << id;
      for (const double draw : {1e-16, 0.1, 0.5, 0.9, 1 - 1e-9}) {
        EXPECT_EQ(filter.pick(draw), oracle::pick(probabilities, draw));
      }
    }
  }
}

TEST(TokenFilter, TopPKeepsTheTokenThatCrossesIt) {
  std::vector<double> weights(2);
  std::vector<uint32_t> candidates;
  SampleRow filters;
  filters.top_p = 0.9F;
  // The likelier one has 1 / 1.15 = 0.87 of the probability, then 1 / 1.1 = 0.91.
  const TokenFilter both(filters, std::vector<float>{0, std::log(0.15F)}, 0, weights, candidates);
  EXPECT_GT(weights[1], 0);
  const TokenFilter one(filters, std::vector<float>{0, std::log(0.1F)}, 0, weights, candidates);
  EXPECT_EQ(weights[1], 0);
}

TEST(TokenFilter, ADrawOfAlmostOneNeverPicksADroppedToken) {
  const std::vector<float> logits = {0, 3, 1, -50, 2, -1};
  std::vector<double> weights(6);
  std::vector<uint32_t> candidates;
  SampleRow filters;
  filters.top_k = 2;
  const TokenFilter filter(filters, logits, 1, weights, candidates);
  EXPECT_EQ(filter.pick(1), 1);
  EXPECT_EQ(filter.pick(1 - 0x1p-53), 4);
  EXPECT_EQ(filter.pick(0x1p-53), 1);
}

}  // namespace
}  // namespace octet::kernels
