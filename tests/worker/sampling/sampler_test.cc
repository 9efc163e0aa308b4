// One test for each promise of the sampler.
#include "worker/sampling/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <tuple>

#include "tests/kernels/oracle.h"
#include "tests/worker/sampling/sampler_oracle.h"

namespace octet::worker {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

AdmittedSequence sequence(std::vector<TokenId> prompt, std::vector<TokenId> output = {}) {
  AdmittedSequence s;
  s.id = 1;
  s.num_prompt_tokens = static_cast<uint32_t>(prompt.size());
  s.tokens = std::move(prompt);
  s.tokens.insert(s.tokens.end(), output.begin(), output.end());
  return s;
}

AdmittedSequence greedy(std::vector<TokenId> prompt, std::vector<TokenId> output = {}) {
  AdmittedSequence s = sequence(std::move(prompt), std::move(output));
  s.sampling.temperature = 0;
  return s;
}

// The tokens that `count` draws from the same logits give.
std::vector<TokenId> draw(const AdmittedSequence& s, const std::vector<float>& logits, int count) {
  SequenceSampler sampler(s);
  std::vector<TokenId> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(sample_next(sampler, logits).value().token);
  return tokens;
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestIdAmongEquals) {
  EXPECT_THAT(draw(greedy({0}), {1, 5, 2, 5}, 3), Each(1));
  EXPECT_THAT(draw(greedy({0}), {-3, -2, -2}, 1), ElementsAre(1));
}

TEST(Sampler, GreedyObeysPenaltiesAndBias) {
  AdmittedSequence s = greedy({0, 3});
  s.sampling.presence_penalty = 1.5F;
  EXPECT_THAT(draw(s, {1, 5, 4, 3}, 4), ElementsAre(1, 2, 1, 1));
  s.sampling.frequency_penalty = 1;
  EXPECT_THAT(draw(s, {1, 5, 4, 3}, 4), ElementsAre(1, 2, 3, 1));
  s = greedy({0});
  s.sampling.logit_bias = {{0, 4.5F}};
  EXPECT_THAT(draw(s, {1, 5, 4, 3}, 1), ElementsAre(0));
}

TEST(Sampler, PresenceAndFrequencyLookAtOutputOnly) {
  AdmittedSequence s = greedy({1, 1, 1});
  s.sampling.presence_penalty = 2;
  s.sampling.frequency_penalty = 2;
  EXPECT_THAT(draw(s, {1, 5, 4}, 1), ElementsAre(1));
}

TEST(Sampler, RepetitionPenaltyLooksAtPromptAndOutput) {
  AdmittedSequence s = greedy({1}, {2});
  s.sampling.repetition_penalty = 2;
  EXPECT_THAT(draw(s, {3, 5, 4}, 1), ElementsAre(0));
  // Negative logits fall under the one rule, and rise under the other, which does not see the prompt's first
  // token.
  EXPECT_THAT(draw(s, {-5, -4, -3}, 1), ElementsAre(0));
  s.sampling.repetition_rule = RepetitionRule::kDivide;
  EXPECT_THAT(draw(s, {-1.9F, -1.8F, -3}, 1), ElementsAre(2));
}

TEST(Sampler, BansTheLastTokenOfABadWordAfterTheOthers) {
  AdmittedSequence s = greedy({7, 8}, {9});
  s.sampling.bad_words = {{8, 9, 1}};  // its others span prompt and output
  EXPECT_THAT(draw(s, {0, 5, 4, 0, 0, 0, 0, 0, 0, 0}, 2), ElementsAre(2, 1));
  s.sampling.bad_words = {{7, 8, 9, 1}};  // all tokens so far
  EXPECT_THAT(draw(s, {0, 5, 4, 0, 0, 0, 0, 0, 0, 0}, 1), ElementsAre(2));
  s.sampling.bad_words = {{1}};
  EXPECT_THAT(draw(s, {0, 5, 4, 0, 0, 0, 0, 0, 0, 0}, 2), ElementsAre(2, 2));
  s.sampling.bad_words = {{9, 7, 8, 9, 1}};  // longer than all tokens so far
  EXPECT_THAT(draw(s, {0, 5, 4, 0, 0, 0, 0, 0, 0, 0}, 1), ElementsAre(1));
  s.sampling.bad_words = {{1, 1}};
  EXPECT_THAT(draw(s, {0, 5, 4, 0, 0, 0, 0, 0, 0, 0}, 4), ElementsAre(1, 2, 1, 2));
}

TEST(Sampler, SuppressesTokensBeforeMinTokens) {
  AdmittedSequence s = greedy({0}, {0});
  s.sampling.min_tokens = 3;
  s.sampling.suppressed_before_min_tokens = {1, 2};
  EXPECT_THAT(draw(s, {1, 5, 4}, 4), ElementsAre(0, 0, 1, 1));
}

TEST(Sampler, SameSeedSameTokensWhateverTheOrder) {
  constexpr int kNumSequences = 8;
  constexpr int kNumTokens = 40;
  const std::vector<float> logits = {0.1F, 0.7F, 0.3F, 1.2F, -0.4F, 0.9F};
  std::vector<std::vector<TokenId>> alone;
  std::vector<SequenceSampler> samplers;
  for (uint32_t i = 0; i < kNumSequences; ++i) {
    AdmittedSequence s = sequence({0, 1});
    s.sampling.seed = 1000 + i / 2;
    s.sampling.choice_index = i % 2;
    alone.push_back(draw(s, logits, kNumTokens));
    samplers.emplace_back(s);
  }
  std::vector<std::vector<TokenId>> mixed(kNumSequences);
  std::mt19937 random(1);
  for (int n = 0; n < kNumSequences * kNumTokens;) {
    const size_t i = random() % kNumSequences;
    if (mixed[i].size() == kNumTokens) continue;
    mixed[i].push_back(sample_next(samplers[i], logits)->token);
    ++n;
  }
  EXPECT_EQ(mixed, alone);
  EXPECT_NE(alone[0], alone[1]) << "choices of one seed differ";
  EXPECT_NE(alone[0], alone[2]) << "seeds differ";
}

TEST(Sampler, GoesOnTheSameWhenMadeAnew) {
  const std::vector<float> logits = {0.1F, 0.7F, 0.3F, 1.2F, -0.4F, 0.9F};
  AdmittedSequence s = sequence({0, 1, 2});
  s.sampling.seed = 99;
  s.sampling.presence_penalty = 0.5F;
  s.sampling.frequency_penalty = 0.1F;
  s.sampling.repetition_penalty = 1.3F;
  s.sampling.min_tokens = 15;
  s.sampling.suppressed_before_min_tokens = {3};
  s.sampling.bad_words = {{1, 1}};
  const std::vector<TokenId> whole = draw(s, logits, 30);
  for (const int cut : {1, 14, 29}) {
    AdmittedSequence moved = s;
    moved.tokens.insert(moved.tokens.end(), whole.begin(), whole.begin() + cut);
    EXPECT_EQ(draw(moved, logits, 30 - cut), std::vector<TokenId>(whole.begin() + cut, whole.end()));
  }
}

TEST(Sampler, ReturnsRawLogprobsWhenAsked) {
  const std::vector<float> logits = {1, 5, 4, 3};
  AdmittedSequence s = greedy({0});
  s.sampling.logit_bias = {{2, 10}};
  s.sampling.logprobs = 2;
  SequenceSampler sampler(s);
  const std::optional<ScoredToken> token = sample_next(sampler, logits);
  EXPECT_EQ(token->token, 2);
  EXPECT_NEAR(token->logprob, kernels::oracle::logprobs(logits)[2], 1e-6);
  EXPECT_THAT(token->top_tokens, ElementsAre(1, 2));
  s.sampling.logprobs = 0;
  SequenceSampler without(s);
  EXPECT_THAT(sample_next(without, logits)->top_tokens, testing::IsEmpty());
}

TEST(Sampler, RefusesLogitsThatAreNotFiniteAndStaysAsItWas) {
  const std::vector<float> logits = {0.5F, 0.6F, 0.7F};
  AdmittedSequence s = sequence({0});
  s.sampling.seed = 5;
  SequenceSampler sampler(s);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity}) {
    EXPECT_FALSE(sample_next(sampler, {0, bad, 1}).has_value());
  }
  EXPECT_EQ(sample_next(sampler, logits)->token, draw(s, logits, 1).front());
}

TEST(Sampler, TopKBeyondTheVocabularyKeepsAll) {
  AdmittedSequence all = sequence({0});
  AdmittedSequence beyond = all;
  beyond.sampling.top_k = 4294967295;
  EXPECT_EQ(draw(beyond, {1, 2, 3}, 50), draw(all, {1, 2, 3}, 50));
}

TEST(Sampler, TopKOneIsGreedyEvenAmongEquals) {
  AdmittedSequence s = sequence({0});
  s.sampling.top_k = 1;
  EXPECT_THAT(draw(s, {1, 3, 3, 2}, 50), Each(1));
}

TEST(Sampler, ATinyTopPKeepsOneToken) {
  AdmittedSequence s = sequence({0});
  s.sampling.top_p = std::numeric_limits<float>::min();
  EXPECT_THAT(draw(s, {1, 3, 3, 2}, 50), Each(1));
}

TEST(Sampler, MinPOneKeepsOnlyTheLikeliestAndItsEquals) {
  AdmittedSequence s = sequence({0});
  s.sampling.min_p = 1;
  EXPECT_THAT(draw(s, {1, 2, 3, 2}, 50), Each(2));
  EXPECT_THAT(draw(s, {1, 3, 2, 3}, 50), AllOf(Each(AnyOf(1, 3)), Contains(1), Contains(3)));
}

TEST(Sampler, ATinyTemperatureIsGreedy) {
  for (const float temperature : {1e-6F, std::numeric_limits<float>::denorm_min()}) {
    AdmittedSequence s = sequence({0});
    s.sampling.temperature = temperature;
    EXPECT_THAT(draw(s, {1, 3, 2, 2.999F}, 50), Each(1));
  }
}

TEST(Sampler, AHugeTemperatureAndEqualLogitsAreUniform) {
  AdmittedSequence s = sequence({0});
  std::vector<int> counts(4);
  for (const TokenId token : draw(s, {-7, -7, -7, -7}, 4000)) ++counts[token];
  s.sampling.temperature = std::numeric_limits<float>::max();
  for (const TokenId token : draw(s, {-90, 3, 20, 80}, 4000)) ++counts[token];
  for (const int count : counts) EXPECT_NEAR(count, 2000, 160);
}

TEST(Sampler, AVocabularyOfOneHasOneAnswer) {
  AdmittedSequence s = sequence({0});
  s.sampling.top_k = 5;
  s.sampling.top_p = 0.5F;
  s.sampling.min_p = 0.5F;
  s.sampling.repetition_penalty = 3;
  EXPECT_THAT(draw(s, {-2}, 5), Each(0));
}

TEST(Sampler, NeverDrawsATokenBiasedToMinusInfinity) {
  AdmittedSequence s = sequence({0});
  s.sampling.logit_bias = {{0, -kInfinity}, {2, -kInfinity}};
  s.sampling.repetition_penalty = 0.5F;
  s.sampling.frequency_penalty = -2;
  for (const float temperature : {1.0F, 50.0F, std::numeric_limits<float>::max()}) {
    s.sampling.temperature = temperature;
    EXPECT_THAT(draw(s, {9, 1, 9, 1}, 200), Each(AnyOf(1, 3)));
  }
}

TEST(Sampler, TakesTheLargestRawLogitWhenEverythingIsBanned) {
  AdmittedSequence s = sequence({0});
  s.sampling.bad_words = {{0}, {1}, {2}};
  EXPECT_THAT(draw(s, {1, 3, 2}, 5), Each(1));
}

TEST(Sampler, SurvivesNumbersAtTheEndsOfTheirRanges) {
  constexpr float kMax = std::numeric_limits<float>::max();
  AdmittedSequence s = sequence({0, 1, 2}, {0, 1});
  s.sampling.logit_bias = {{0, kMax}, {1, -kMax}};
  s.sampling.presence_penalty = -kMax;
  s.sampling.frequency_penalty = -kMax;
  s.sampling.repetition_penalty = kMax;
  s.sampling.temperature = std::numeric_limits<float>::denorm_min();
  EXPECT_THAT(draw(s, {kMax, -kMax, kMax}, 3), Each(0));
  s.sampling.repetition_penalty = std::numeric_limits<float>::min();
  // The bonus lifts both to the end of the range.
  EXPECT_THAT(draw(s, {kMax, -kMax, -kMax}, 50), AllOf(Each(AnyOf(0, 1)), Contains(0), Contains(1)));
}

TEST(Sampler, ScoresThePromptsTokensWithTheAlternativesAskedFor) {
  AdmittedSequence s = sequence({5, 6, 7}, {8});
  s.sampling.logprobs = 4;
  EXPECT_EQ(SequenceSampler(s).prompt_row(0).scored_token, 5u);
  EXPECT_EQ(SequenceSampler(s).prompt_row(2).scored_token, 7u);
  EXPECT_EQ(SequenceSampler(s).prompt_row(2).num_top, 0u);
  s.sampling.prompt_logprobs = 3;
  EXPECT_EQ(SequenceSampler(s).prompt_row(2).num_top, 3u);
}

TEST(Sampler, EditsEachTokenOnceByRisingId) {
  AdmittedSequence s = sequence({4, 2}, {9, 4});
  s.sampling.frequency_penalty = 1;
  s.sampling.bad_words = {{7}, {4}};
  s.sampling.min_tokens = 9;
  s.sampling.suppressed_before_min_tokens = {7, 0};
  s.sampling.logit_bias = {{2, 0.5F}, {4, 3.0F}, {11, 1.0F}};
  SequenceSampler sampler(s);
  const kernels::SampleRow row = sampler.next_row();
  std::vector<std::tuple<uint32_t, float, bool, uint32_t>> edits;
  for (const kernels::LogitEdit& e : row.edits) {
    edits.emplace_back(e.token, e.bias, e.penalized, e.num_generated);
  }
  using Edit = std::tuple<uint32_t, float, bool, uint32_t>;
  EXPECT_THAT(edits,
              ElementsAre(Edit(0, -kInfinity, false, 0), Edit(2, 0.5F, true, 0), Edit(4, -kInfinity, true, 1),
                          Edit(7, -kInfinity, false, 0), Edit(9, 0, true, 1), Edit(11, 1, false, 0)));
  EXPECT_EQ(row.position, 4u);
}

TEST(Sampler, HandsOnWhichTokensAreAllowed) {
  const std::vector<uint32_t> allowed = {6};
  SequenceSampler sampler(sequence({0}));
  EXPECT_EQ(sampler.next_row(allowed).allowed.data(), allowed.data());
  EXPECT_TRUE(sampler.next_row().allowed.empty());
}

// Bits of the tokens.
std::vector<uint32_t> mask(std::vector<TokenId> tokens) {
  std::vector<uint32_t> words(1);
  for (const TokenId token : tokens) words[0] |= 1U << token;
  return words;
}

TEST(Sampler, TakesAllowedTokensOnly) {
  const std::vector<float> logits = {1, 5, 2, 4, 3, 0};
  AdmittedSequence s = greedy({0});
  s.sampling.logit_bias = {{1, 100.0F}};
  SequenceSampler sampler(s);
  EXPECT_EQ(sample_next(sampler, logits, mask({0, 2, 3}))->token, 3u);
  EXPECT_EQ(sample_next(sampler, logits, mask({5}))->token, 5u);
  SequenceSampler drawing(sequence({0}));
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(sample_next(drawing, logits, mask({2, 4}))->token, AnyOf(2u, 4u));
  }
}

TEST(Sampler, WhereAllThatIsAllowedIsBannedItIsAllowedAllTheSame) {
  const std::vector<float> logits = {1, 5, 2, 4, 3, 0};
  AdmittedSequence s = sequence({0});
  s.sampling.bad_words = {{2}, {4}};
  s.sampling.suppressed_before_min_tokens = {5};
  s.sampling.min_tokens = 10;
  SequenceSampler sampler(s);
  EXPECT_EQ(sample_next(sampler, logits, mask({2, 4, 5}))->token, 4u);
  EXPECT_EQ(sample_next(sampler, logits, mask({5}))->token, 5u);
}

TEST(Sampler, AllTokensAllowedIsTheSameAsNoMask) {
  const std::vector<float> logits = {1, 1.5F, 2, 1.7F, 1.2F, 0};
  SequenceSampler with(sequence({0}));
  SequenceSampler without(sequence({0}));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(sample_next(with, logits, mask({0, 1, 2, 3, 4, 5})), sample_next(without, logits));
  }
}

}  // namespace
}  // namespace octet::worker
