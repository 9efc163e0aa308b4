#include "worker/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "worker/sampling/philox.h"
#include "worker/sampling/token_filter.h"

namespace octet::worker {
namespace {

constexpr float kBanned = -std::numeric_limits<float>::infinity();

bool all_finite(std::span<const float> logits) {
  bool finite = true;
  for (const float logit : logits) finite &= std::abs(logit) <= std::numeric_limits<float>::max();
  return finite;
}

// In lanes, which compilers turn into vector instructions; std::max_element is ten times slower.
float largest(std::span<const float> logits) {
  constexpr size_t kNumLanes = 16;
  float lanes[kNumLanes];
  std::fill_n(lanes, kNumLanes, kBanned);
  size_t i = 0;
  for (; i + kNumLanes <= logits.size(); i += kNumLanes) {
    for (size_t lane = 0; lane < kNumLanes; ++lane) lanes[lane] = std::max(lanes[lane], logits[i + lane]);
  }
  float result = *std::max_element(lanes, lanes + kNumLanes);
  for (; i < logits.size(); ++i) result = std::max(result, logits[i]);
  return result;
}

// The index of the largest, the lowest one among equals.
TokenId argmax(std::span<const float> logits) {
  return static_cast<TokenId>(std::find(logits.begin(), logits.end(), largest(logits)) - logits.begin());
}

// Sums stay finite, so that no bias or penalty can turn a logit into NaN; a banned token stays banned.
float clamped(double logit) {
  constexpr double kMax = std::numeric_limits<float>::max();
  if (logit == kBanned) return kBanned;
  return static_cast<float>(std::clamp(logit, -kMax, kMax));
}

// score_token() for finite logits; candidates is room.
ScoredToken scored(std::span<const float> logits, TokenId token, uint32_t num_top,
                   std::vector<TokenId>& candidates) {
  const double offset = largest(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - offset);
  const double log_sum = std::log(sum);
  const auto logprob = [&](TokenId id) { return static_cast<float>(logits[id] - offset - log_sum); };

  ScoredToken result;
  result.token = token;
  result.logprob = logprob(token);
  select_largest(logits, num_top, candidates);
  result.top_tokens = candidates;
  result.top_logprobs.reserve(candidates.size());
  for (const TokenId id : candidates) result.top_logprobs.push_back(logprob(id));
  return result;
}

}  // namespace

SamplerWorkspace::SamplerWorkspace(uint32_t vocab_size)
    : vocab_size_(vocab_size), logits_(vocab_size), weights_(vocab_size) {
  candidates_.reserve(vocab_size);
}

SequenceSampler::SequenceSampler(const AdmittedSequence& sequence)
    : params_(sequence.sampling), tokens_(sequence.tokens), num_prompt_tokens_(sequence.num_prompt_tokens) {
  OCTET_CHECK(num_prompt_tokens_ <= tokens_.size(), num_prompt_tokens_, " of ", tokens_.size());
  if (!penalizes()) return;
  const std::span<const TokenId> prompt(tokens_.data(), num_prompt_tokens_);
  // NeMo's server does not count the first token.
  const bool skips_first = params_.repetition_rule == RepetitionRule::kDivide && !prompt.empty();
  counts_ = TokenCounts(skips_first ? prompt.subspan(1) : prompt);
  for (size_t i = num_prompt_tokens_; i < tokens_.size(); ++i) counts_.add_generated(tokens_[i]);
}

bool SequenceSampler::penalizes() const {
  return params_.repetition_penalty != 1 || params_.presence_penalty != 0 || params_.frequency_penalty != 0;
}

TokenId SequenceSampler::prompt_token(uint32_t position) const {
  OCTET_CHECK(position < num_prompt_tokens_, position, " of ", num_prompt_tokens_);
  return tokens_[position];
}

std::optional<ScoredToken> SequenceSampler::sample(std::span<const float> logits,
                                                   SamplerWorkspace& workspace) {
  OCTET_CHECK(logits.size() == workspace.vocab_size_, logits.size(), " logits, not ", workspace.vocab_size_);
  if (!all_finite(logits)) return std::nullopt;
  const TokenId token = choose(logits, workspace);
  tokens_.push_back(token);
  if (penalizes()) counts_.add_generated(token);
  if (params_.logprobs.has_value()) return scored(logits, token, *params_.logprobs, workspace.candidates_);
  ScoredToken unscored;
  unscored.token = token;
  return unscored;
}

TokenId SequenceSampler::choose(std::span<const float> raw, SamplerWorkspace& workspace) const {
  const std::span<float> logits(workspace.logits_);
  std::copy(raw.begin(), raw.end(), logits.begin());
  adjust(logits);
  const TokenId best = argmax(logits);
  if (logits[best] == kBanned) return argmax(raw);
  if (params_.temperature == 0) return best;

  const TokenFilter filter(params_, logits, best, workspace.weights_, workspace.candidates_);
  const auto position = static_cast<uint32_t>(tokens_.size());
  return filter.pick(uniform_draw(params_.seed, params_.choice_index, position));
}

// The order matters: a penalty acts on the biased logit.
void SequenceSampler::adjust(std::span<float> logits) const {
  ban_bad_words(logits);
  if (tokens_.size() - num_prompt_tokens_ < params_.min_tokens) {
    for (const TokenId token : params_.suppressed_before_min_tokens) logits[token] = kBanned;
  }
  for (const auto& [token, bias] : params_.logit_bias) logits[token] = clamped(double{logits[token]} + bias);
  if (penalizes()) penalize(logits);
}

void SequenceSampler::ban_bad_words(std::span<float> logits) const {
  for (const std::vector<TokenId>& word : params_.bad_words) {
    const size_t num_others = word.size() - 1;
    if (num_others > tokens_.size()) continue;
    if (std::equal(word.begin(), word.end() - 1, tokens_.end() - num_others)) logits[word.back()] = kBanned;
  }
}

void SequenceSampler::penalize(std::span<float> logits) const {
  const double repetition = params_.repetition_penalty;
  const bool always_divides = params_.repetition_rule == RepetitionRule::kDivide;
  for (const TokenCounts::Entry& entry : counts_.entries()) {
    double logit = logits[entry.token];
    logit = always_divides || logit > 0 ? logit / repetition : logit * repetition;
    if (entry.num_generated > 0) {
      logit -= double{params_.frequency_penalty} * entry.num_generated + params_.presence_penalty;
    }
    logits[entry.token] = clamped(logit);
  }
}

std::optional<ScoredToken> score_token(std::span<const float> logits, TokenId token, uint32_t num_top,
                                       SamplerWorkspace& workspace) {
  OCTET_CHECK(logits.size() == workspace.vocab_size_, logits.size(), " logits, not ", workspace.vocab_size_);
  OCTET_CHECK(token < logits.size(), "token ", token, " of ", logits.size());
  if (!all_finite(logits)) return std::nullopt;
  return scored(logits, token, num_top, workspace.candidates_);
}

}  // namespace octet::worker
