#include "worker/stage/sample_rows.h"

#include <utility>

#include "base/check.h"

namespace octet::worker {
namespace {

SequenceSampler& sampler_of(const LogitRow& row, BatchInput& input) {
  SequenceState& state = *input.sequences[row.chunk_index];
  OCTET_CHECK(state.sampler.has_value(), "chunk ", row.chunk_index, " has no sampler on the last stage");
  return *state.sampler;
}

void use_row(const LogitRow& row, const kernels::SampledToken& sampled, SequenceSampler& sampler,
             SequenceSample& sample) {
  if (sample.not_finite) return;  // the sequence ends; nothing after the first bad row counts
  sample.not_finite = !sampled.is_finite;
  if (sample.not_finite) return;
  if (row.use == LogitUse::kPromptLogprob) {
    sample.prompt_logprobs.push_back(scored_token(sampled));
    return;
  }
  sample.token = scored_token(sampled);
  sampler.add(sampled.token);
}

}  // namespace

void sample_rows(const BatchPlan& plan, BatchInput& input, int64_t first, kernels::Backend& backend,
                 const kernels::Tensor& logits, std::vector<SequenceSample>& samples) {
  const auto num_rows = static_cast<size_t>(logits.size(0));
  const auto begin = static_cast<size_t>(first);
  std::vector<kernels::SampleRow> rows;
  rows.reserve(num_rows);
  for (size_t i = begin; i < begin + num_rows; ++i) {
    const LogitRow& row = input.logit_rows[i];
    SequenceSampler& sampler = sampler_of(row, input);
    rows.push_back(row.use == LogitUse::kSample ? sampler.next_row() : sampler.prompt_row(row.position));
  }
  std::vector<kernels::SampledToken> sampled(num_rows);
  backend.sample(logits, rows, sampled);
  for (size_t i = 0; i < num_rows; ++i) {
    const LogitRow& row = input.logit_rows[begin + i];
    // Rows of a chunk follow each other, so its first row opens the chunk's entry.
    if (begin + i == 0 || input.logit_rows[begin + i - 1].chunk_index != row.chunk_index) {
      samples.emplace_back().id = plan.chunks[row.chunk_index].id;
    }
    use_row(row, sampled[i], sampler_of(row, input), samples.back());
  }
}

}  // namespace octet::worker
