#include "kernels/cuda/sample_plan.h"

#include <algorithm>
#include <bit>

namespace octet::kernels::cuda {
namespace {

constexpr uint64_t kTokensOfThread = 8;  // fewer are not worth a thread
constexpr uint64_t kMinThreads = 64;     // a draw divides the ids by the warps
constexpr uint64_t kMaxThreads = 512;    // more would leave fp64 too few registers

}  // namespace

SampledToken sampled_token(const RowResult& result) {
  SampledToken sampled;
  sampled.is_finite = result.is_finite;
  sampled.token = result.token;
  sampled.logprob = result.logprob;
  sampled.top_tokens.assign(result.top_tokens, result.top_tokens + result.num_top);
  sampled.top_logprobs.assign(result.top_logprobs, result.top_logprobs + result.num_top);
  return sampled;
}

void SamplePlan::clear() {
  rows.clear();
  edits.clear();
  masks.clear();
}

void plan_samples(std::span<const SampleRow> rows, SamplePlan& plan) {
  plan.clear();
  for (const SampleRow& row : rows) {
    plan.rows.push_back(
        {.seed = row.seed,
         .choice_index = row.choice_index,
         .position = row.position,
         .temperature = row.temperature,
         .top_k = row.top_k,
         .top_p = row.top_p,
         .min_p = row.min_p,
         .repetition_penalty = row.repetition_penalty,
         .presence_penalty = row.presence_penalty,
         .frequency_penalty = row.frequency_penalty,
         .always_divides = row.always_divides ? 1u : 0u,
         .first_edit = static_cast<uint32_t>(plan.edits.size()),
         .num_edits = static_cast<uint32_t>(row.edits.size()),
         .first_word = row.allowed.empty() ? kAllAllowed : static_cast<uint32_t>(plan.masks.size()),
         .scored_token = row.scored_token.value_or(0),
         .num_top = row.num_top.value_or(0),
         .chooses = row.scored_token ? 0u : 1u,
         .wants_scores = row.num_top ? 1u : 0u,
         .unused = 0});
    plan.edits.insert(plan.edits.end(), row.edits.begin(), row.edits.end());
    plan.masks.insert(plan.masks.end(), row.allowed.begin(), row.allowed.end());
  }
}

std::string to_text(const SamplePlan& plan) {
  return std::to_string(plan.rows.size()) + " rows, " + std::to_string(plan.edits.size()) + " edits, " +
         std::to_string(plan.masks.size()) + " words of masks";
}

SampleShape shape_of(int64_t vocab_size) {
  const auto size = static_cast<uint64_t>(vocab_size);
  const uint64_t threads =
      std::clamp(std::bit_ceil((size + kTokensOfThread - 1) / kTokensOfThread), kMinThreads, kMaxThreads);
  return {.vocab_size = static_cast<uint32_t>(size),
          .threads = static_cast<unsigned int>(threads),
          .id_bits = static_cast<unsigned int>(std::bit_width(size - 1)),
          .unit = static_cast<double>(uint64_t{1} << (63 - std::bit_width(size)))};
}

}  // namespace octet::kernels::cuda
