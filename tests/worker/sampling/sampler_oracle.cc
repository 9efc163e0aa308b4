#include "tests/worker/sampling/sampler_oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace octet::worker {
namespace {

constexpr double kBanned = -std::numeric_limits<double>::infinity();

bool ends_with(const std::vector<TokenId>& tokens, std::span<const TokenId> tail) {
  return tokens.size() >= tail.size() && std::equal(tail.begin(), tail.end(), tokens.end() - tail.size());
}

std::vector<double> softmax(const std::vector<double>& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> probabilities;
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - largest);
  for (const double logit : logits) probabilities.push_back(std::exp(logit - largest) / sum);
  return probabilities;
}

}  // namespace

std::vector<TokenId> oracle_ranking(const std::vector<double>& values) {
  std::vector<TokenId> ids(values.size());
  std::iota(ids.begin(), ids.end(), TokenId{0});
  std::stable_sort(ids.begin(), ids.end(), [&](TokenId a, TokenId b) { return values[a] > values[b]; });
  return ids;
}

std::vector<double> oracle_logits(std::span<const float> raw, const AdmittedSequence& sequence) {
  const SamplingParams& p = sequence.sampling;
  std::vector<double> logits(raw.begin(), raw.end());
  for (const std::vector<TokenId>& word : p.bad_words) {
    if (ends_with(sequence.tokens, std::span(word).first(word.size() - 1))) logits[word.back()] = kBanned;
  }
  const size_t num_generated = sequence.tokens.size() - sequence.num_prompt_tokens;
  if (num_generated < p.min_tokens) {
    for (const TokenId id : p.suppressed_before_min_tokens) logits[id] = kBanned;
  }
  for (const auto& [id, bias] : p.logit_bias) logits[id] += bias;
  for (TokenId id = 0; id < logits.size(); ++id) {
    const auto first = sequence.tokens.begin();
    const auto output = first + sequence.num_prompt_tokens;
    const bool divides_always = p.repetition_rule == RepetitionRule::kDivide;
    const auto count = std::count(output, sequence.tokens.end(), id);
    if (std::count(divides_always ? first + 1 : first, output, id) + count > 0) {
      logits[id] = divides_always || logits[id] > 0 ? logits[id] / double{p.repetition_penalty}
                                                    : logits[id] * double{p.repetition_penalty};
    }
    logits[id] -= double{p.frequency_penalty} * static_cast<double>(count);
    if (count > 0) logits[id] -= double{p.presence_penalty};
  }
  return logits;
}

std::vector<double> oracle_probabilities(std::span<const float> raw, const AdmittedSequence& sequence) {
  const SamplingParams& p = sequence.sampling;
  std::vector<double> logits = oracle_logits(raw, sequence);
  for (double& logit : logits) logit /= double{p.temperature};

  std::vector<double> probabilities = softmax(logits);
  const double largest = *std::max_element(probabilities.begin(), probabilities.end());
  for (TokenId id = 0; id < logits.size(); ++id) {
    if (probabilities[id] < double{p.min_p} * largest) logits[id] = kBanned;
  }
  const std::vector<TokenId> ranking = oracle_ranking(logits);
  if (p.top_k > 0) {
    for (size_t rank = p.top_k; rank < ranking.size(); ++rank) logits[ranking[rank]] = kBanned;
  }
  probabilities = softmax(logits);
  if (p.top_p < 1) {
    double sum = 0;
    for (const TokenId id : ranking) {
      if (sum >= double{p.top_p}) logits[id] = kBanned;
      sum += probabilities[id];
    }
  }
  return softmax(logits);
}

TokenId oracle_pick(const std::vector<double>& probabilities, double draw) {
  double sum = 0;
  TokenId last = 0;
  for (TokenId id = 0; id < probabilities.size(); ++id) {
    if (probabilities[id] == 0) continue;
    last = id;
    sum += probabilities[id];
    if (sum > draw) break;
  }
  return last;
}

std::vector<double> oracle_logprobs(std::span<const float> raw) {
  std::vector<double> logprobs(raw.begin(), raw.end());
  double sum = 0;
  const double largest = *std::max_element(logprobs.begin(), logprobs.end());
  for (const double logit : logprobs) sum += std::exp(logit - largest);
  for (double& logit : logprobs) logit -= largest + std::log(sum);
  return logprobs;
}

}  // namespace octet::worker
