#include "worker/stage/sample_rows.h"

#include <utility>

#include "base/check.h"

namespace octet::worker {
namespace {

SequenceState& state_of(const LogitRow& row, BatchInput& input) {
  SequenceState& state = *input.sequences[row.chunk_index];
  OCTET_CHECK(state.sampler.has_value(), "chunk ", row.chunk_index, " has no sampler on the last stage");
  return state;
}

// Where no token may follow, any is chosen, and use_row() says why it does not count.
kernels::SampleRow next_row(SequenceState& state) {
  const TokenMask* const allowed = state.constraint ? state.constraint->allowed() : nullptr;
  return state.sampler->next_row(allowed != nullptr ? *allowed : std::span<const uint32_t>());
}

void use_row(const LogitRow& row, const kernels::SampledToken& sampled, SequenceState& state,
             SequenceSample& sample) {
  if (sample.not_finite) return;  // the sequence ends; nothing after the first bad row counts
  sample.not_finite = !sampled.is_finite;
  if (sample.not_finite) return;
  if (row.use == LogitUse::kPromptLogprob) {
    sample.prompt_logprobs.push_back(scored_token(sampled));
    return;
  }
  if (state.constraint && !state.constraint->why().empty()) {
    sample.refusal = state.constraint->why();
    return;
  }
  sample.token = scored_token(sampled);
  state.sampler->add(sampled.token);
  if (state.constraint) state.constraint->add(sampled.token);
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
    SequenceState& state = state_of(row, input);
    rows.push_back(row.use == LogitUse::kSample ? next_row(state) : state.sampler->prompt_row(row.position));
  }
  std::vector<kernels::SampledToken> sampled(num_rows);
  backend.sample(logits, rows, sampled);
  for (size_t i = 0; i < num_rows; ++i) {
    const LogitRow& row = input.logit_rows[begin + i];
    // Rows of a chunk follow each other, so its first row opens the chunk's entry.
    if (begin + i == 0 || input.logit_rows[begin + i - 1].chunk_index != row.chunk_index) {
      samples.emplace_back().id = plan.chunks[row.chunk_index].id;
    }
    use_row(row, sampled[i], state_of(row, input), samples.back());
  }
}

}  // namespace octet::worker
