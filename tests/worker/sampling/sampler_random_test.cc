// Random parameters and logits against the oracle, token by token, and the distribution of many draws.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "tests/worker/sampling/sampler_oracle.h"
#include "worker/sampling/sampler.h"

namespace octet::worker {
namespace {

class RandomSampling {
 public:
  explicit RandomSampling(uint32_t seed) : random_(seed) {}

  uint32_t below(uint32_t end) { return static_cast<uint32_t>(random_() % end); }
  float real(float low, float high) { return std::uniform_real_distribution<float>(low, high)(random_); }

  std::vector<float> logits(uint32_t vocab_size) {
    std::vector<float> values(vocab_size);
    // Half of the rows have many ties.
    const bool coarse = below(2) == 0;
    for (float& value : values) value = coarse ? static_cast<float>(below(9)) - 4 : real(-6, 6);
    return values;
  }

  AdmittedSequence sequence(uint32_t vocab_size) {
    AdmittedSequence s;
    s.id = 1;
    for (uint32_t n = 1 + below(12); n > 0; --n) s.tokens.push_back(below(vocab_size));
    s.num_prompt_tokens = 1 + below(static_cast<uint32_t>(s.tokens.size()));
    s.sampling.seed = random_();
    s.sampling.choice_index = below(4);
    return s;
  }

  std::mt19937_64 random_;
};

using Change = std::function<void(SamplingParams&, RandomSampling&, uint32_t vocab_size)>;

void set_filters(SamplingParams& p, RandomSampling& r, uint32_t vocab_size) {
  p.temperature = r.real(0.2F, 3);
  if (r.below(2) == 0) p.top_k = 1 + r.below(vocab_size + 3);
  if (r.below(2) == 0) p.top_p = r.real(0.05F, 1);
  if (r.below(2) == 0) p.min_p = r.real(0, 0.5F);
}

void set_penalties(SamplingParams& p, RandomSampling& r, uint32_t) {
  p.repetition_penalty = r.real(0.5F, 2);
  if (r.below(2) == 0) p.repetition_rule = RepetitionRule::kDivide;
  if (r.below(2) == 0) p.presence_penalty = r.real(-2, 2);
  if (r.below(2) == 0) p.frequency_penalty = r.real(-2, 2);
}

void set_bans(SamplingParams& p, RandomSampling& r, uint32_t vocab_size) {
  for (int i = 0; i < 20; ++i) {
    std::vector<TokenId>& word = p.bad_words.emplace_back();
    for (uint32_t n = 1 + r.below(3); n > 0; --n) word.push_back(r.below(vocab_size));
  }
  p.min_tokens = r.below(10);
  p.suppressed_before_min_tokens = {r.below(vocab_size), r.below(vocab_size)};
  p.logit_bias = {{0, r.real(-5, 5)}, {vocab_size - 1, -std::numeric_limits<float>::infinity()}};
}

// Samples 12 tokens from each of many random rows, with parameters that `change` sets.
void expect_oracle(const Change& change) {
  RandomSampling random(7);
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(i);
    const uint32_t vocab_size = 30 + random.below(40);
    AdmittedSequence sequence = random.sequence(vocab_size);
    change(sequence.sampling, random, vocab_size);
    SequenceSampler sampler(sequence);
    for (int n = 0; n < 12; ++n) {
      const std::vector<float> logits = random.logits(vocab_size);
      const std::optional<ScoredToken> token = sample_next(sampler, logits);
      ASSERT_TRUE(token.has_value());
      ASSERT_EQ(token->token, oracle_choice(logits, sequence)) << "token " << n;
      sequence.tokens.push_back(token->token);
    }
  }
}

TEST(SamplerOracle, Plain) {
  expect_oracle([](SamplingParams&, RandomSampling&, uint32_t) {});
}

TEST(SamplerOracle, Temperature) {
  expect_oracle([](SamplingParams& p, RandomSampling& r, uint32_t) { p.temperature = r.real(0.05F, 4); });
}

TEST(SamplerOracle, TopK) {
  expect_oracle([](SamplingParams& p, RandomSampling& r, uint32_t v) { p.top_k = 1 + r.below(v); });
}

TEST(SamplerOracle, TopP) {
  expect_oracle([](SamplingParams& p, RandomSampling& r, uint32_t) { p.top_p = r.real(0.01F, 1); });
}

TEST(SamplerOracle, MinP) {
  expect_oracle([](SamplingParams& p, RandomSampling& r, uint32_t) { p.min_p = r.real(0, 1); });
}

TEST(SamplerOracle, RepetitionPenaltyDividesOrMultiplies) {
  expect_oracle(
      [](SamplingParams& p, RandomSampling& r, uint32_t) { p.repetition_penalty = r.real(0.3F, 3); });
}

TEST(SamplerOracle, RepetitionPenaltyDivides) {
  expect_oracle([](SamplingParams& p, RandomSampling& r, uint32_t) {
    p.repetition_penalty = r.real(0.3F, 3);
    p.repetition_rule = RepetitionRule::kDivide;
  });
}

TEST(SamplerOracle, PresencePenalty) {
  expect_oracle([](SamplingParams& p, RandomSampling& r, uint32_t) { p.presence_penalty = r.real(-2, 2); });
}

TEST(SamplerOracle, FrequencyPenalty) {
  expect_oracle([](SamplingParams& p, RandomSampling& r, uint32_t) { p.frequency_penalty = r.real(-2, 2); });
}

TEST(SamplerOracle, BansAndBias) {
  expect_oracle(set_bans);
}

TEST(SamplerOracle, EverythingAtOnce) {
  expect_oracle([](SamplingParams& p, RandomSampling& r, uint32_t v) {
    set_filters(p, r, v);
    set_penalties(p, r, v);
    set_bans(p, r, v);
  });
}

TEST(SamplerOracle, EverythingAtOnceGreedily) {
  expect_oracle([](SamplingParams& p, RandomSampling& r, uint32_t v) {
    set_filters(p, r, v);
    set_penalties(p, r, v);
    set_bans(p, r, v);
    p.temperature = 0;
  });
}

TEST(SamplerOracle, DrawsFollowTheDistribution) {
  constexpr int kNumDraws = 100000;
  constexpr uint32_t kVocabSize = 40;
  RandomSampling random(3);
  AdmittedSequence sequence = random.sequence(kVocabSize);
  sequence.sampling.temperature = 1.7F;
  sequence.sampling.top_k = 25;
  sequence.sampling.top_p = 0.95F;
  sequence.sampling.min_p = 0.01F;
  std::vector<float> logits(kVocabSize);
  for (float& logit : logits) logit = random.real(-3, 3);
  const std::vector<double> probabilities = oracle_probabilities(logits, sequence);

  SequenceSampler sampler(sequence);
  std::vector<int> counts(kVocabSize);
  for (int i = 0; i < kNumDraws; ++i) ++counts[sample_next(sampler, logits)->token];
  double chi_square = 0;
  int num_kept = 0;
  for (TokenId id = 0; id < kVocabSize; ++id) {
    if (probabilities[id] == 0) {
      EXPECT_EQ(counts[id], 0) << "token " << id << " was filtered out";
      continue;
    }
    ++num_kept;
    const double expected = probabilities[id] * kNumDraws;
    chi_square += (counts[id] - expected) * (counts[id] - expected) / expected;
  }
  EXPECT_GT(num_kept, 10);
  EXPECT_LT(num_kept, 25);
  // Mean num_kept - 1, standard deviation sqrt(2 * (num_kept - 1)): four of them.
  EXPECT_LT(chi_square, num_kept - 1 + 4 * std::sqrt(2.0 * (num_kept - 1)));
}

}  // namespace
}  // namespace octet::worker
