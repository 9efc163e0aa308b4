#include "worker/sampling/sampler.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace octet::worker {
namespace {

using kernels::LogitEdit;

constexpr float kBanned = -std::numeric_limits<float>::infinity();

bool by_token(const LogitEdit& a, const LogitEdit& b) {
  return a.token < b.token;
}

}  // namespace

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

kernels::SampleRow SequenceSampler::next_row(std::span<const uint32_t> allowed) {
  collect_changes();
  merge_counts();
  kernels::SampleRow row;
  row.temperature = params_.temperature;
  row.top_k = params_.top_k;
  row.top_p = params_.top_p;
  row.min_p = params_.min_p;
  row.repetition_penalty = params_.repetition_penalty;
  row.always_divides = params_.repetition_rule == RepetitionRule::kDivide;
  row.presence_penalty = params_.presence_penalty;
  row.frequency_penalty = params_.frequency_penalty;
  row.edits = edits_;
  row.allowed = allowed;
  row.seed = params_.seed;
  row.choice_index = params_.choice_index;
  row.position = static_cast<uint32_t>(tokens_.size());
  row.num_top = params_.logprobs;
  return row;
}

void SequenceSampler::add(TokenId token) {
  tokens_.push_back(token);
  if (penalizes()) counts_.add_generated(token);
}

kernels::SampleRow SequenceSampler::prompt_row(uint32_t position) const {
  OCTET_CHECK(position < num_prompt_tokens_, position, " of ", num_prompt_tokens_);
  kernels::SampleRow row;
  row.scored_token = tokens_[position];
  row.num_top = params_.prompt_logprobs.value_or(0);
  return row;
}

// Each token once: a banned one stays so whatever its bias is.
void SequenceSampler::collect_changes() {
  changes_.clear();
  ban_bad_words();
  if (tokens_.size() - num_prompt_tokens_ < params_.min_tokens) {
    for (const TokenId token : params_.suppressed_before_min_tokens) {
      changes_.push_back({.token = token, .bias = kBanned});
    }
  }
  for (const auto& [token, bias] : params_.logit_bias) changes_.push_back({.token = token, .bias = bias});
  std::sort(changes_.begin(), changes_.end(), by_token);
  size_t num_kept = 0;
  for (const LogitEdit& change : changes_) {
    if (num_kept > 0 && changes_[num_kept - 1].token == change.token) {
      changes_[num_kept - 1].bias += change.bias;
    } else {
      changes_[num_kept++] = change;
    }
  }
  changes_.resize(num_kept);
}

void SequenceSampler::ban_bad_words() {
  for (const std::vector<TokenId>& word : params_.bad_words) {
    const size_t num_others = word.size() - 1;
    if (num_others > tokens_.size()) continue;
    if (std::equal(word.begin(), word.end() - 1, tokens_.end() - num_others)) {
      changes_.push_back({.token = word.back(), .bias = kBanned});
    }
  }
}

void SequenceSampler::merge_counts() {
  edits_.clear();
  auto change = changes_.begin();
  for (const TokenCounts::Entry& entry : counts_.entries()) {
    while (change != changes_.end() && change->token < entry.token) edits_.push_back(*change++);
    LogitEdit edit = {.token = entry.token, .penalized = true, .num_generated = entry.num_generated};
    if (change != changes_.end() && change->token == entry.token) edit.bias = (change++)->bias;
    edits_.push_back(edit);
  }
  edits_.insert(edits_.end(), change, changes_.end());
}

ScoredToken scored_token(const kernels::SampledToken& sampled) {
  OCTET_CHECK(sampled.is_finite);
  ScoredToken scored;
  scored.token = sampled.token;
  scored.logprob = sampled.logprob;
  scored.top_tokens = sampled.top_tokens;
  scored.top_logprobs = sampled.top_logprobs;
  return scored;
}

}  // namespace octet::worker
