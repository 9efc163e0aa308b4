#include "tests/worker/sampling/sampler_oracle.h"

#include <algorithm>
#include <limits>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/philox.h"
#include "tests/kernels/oracle.h"

namespace octet::worker {
namespace {

constexpr double kBanned = -std::numeric_limits<double>::infinity();

bool ends_with(const std::vector<TokenId>& tokens, std::span<const TokenId> tail) {
  return tokens.size() >= tail.size() && std::equal(tail.begin(), tail.end(), tokens.end() - tail.size());
}

}  // namespace

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

TokenId oracle_choice(std::span<const float> raw, const AdmittedSequence& sequence) {
  const SamplingParams& p = sequence.sampling;
  const std::vector<double> logits = oracle_logits(raw, sequence);
  if (p.temperature == 0) return kernels::oracle::ranking(logits).front();
  const auto position = static_cast<uint32_t>(sequence.tokens.size());
  return kernels::oracle::pick(oracle_probabilities(raw, sequence),
                               kernels::uniform_draw(p.seed, p.choice_index, position));
}

std::vector<double> oracle_probabilities(std::span<const float> raw, const AdmittedSequence& sequence) {
  const SamplingParams& p = sequence.sampling;
  kernels::SampleRow filters;
  filters.temperature = p.temperature;
  filters.top_k = p.top_k;
  filters.top_p = p.top_p;
  filters.min_p = p.min_p;
  return kernels::oracle::probabilities(oracle_logits(raw, sequence), filters);
}

std::optional<ScoredToken> sample_next(SequenceSampler& sampler, std::vector<float> logits,
                                       std::span<const uint32_t> allowed) {
  const auto vocab_size = static_cast<int64_t>(logits.size());
  static const auto ranks = kernels::make_cpu_ranks({});
  const kernels::SampleRow row = sampler.next_row(allowed);
  kernels::SampledToken sampled;
  ranks.front()->sample(kernels::Tensor(logits.data(), kernels::DType::kFloat32, {1, vocab_size}), {&row, 1},
                        {&sampled, 1});
  if (!sampled.is_finite) return std::nullopt;
  sampler.add(sampled.token);
  return scored_token(sampled);
}

}  // namespace octet::worker
