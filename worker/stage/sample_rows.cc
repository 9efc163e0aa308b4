#include "worker/stage/sample_rows.h"

#include <span>
#include <utility>

#include "base/check.h"

namespace octet::worker {
namespace {

void use_row(const LogitRow& row, SequenceSampler& sampler, std::span<const float> logits,
             SamplerWorkspace& workspace, SequenceSample& sample) {
  if (sample.not_finite) return;  // the sequence ends; nothing after the first bad row counts
  if (row.use == LogitUse::kSample) {
    sample.token = sampler.sample(logits, workspace);
    sample.not_finite = !sample.token.has_value();
    return;
  }
  std::optional<ScoredToken> scored = score_token(logits, sampler.prompt_token(row.position),
                                                  sampler.params().prompt_logprobs.value_or(0), workspace);
  sample.not_finite = !scored.has_value();
  if (scored) sample.prompt_logprobs.push_back(*std::move(scored));
}

}  // namespace

void sample_rows(const BatchPlan& plan, BatchInput& input, int64_t first, const kernels::Tensor& logits,
                 SamplerWorkspace& workspace, std::vector<SequenceSample>& samples) {
  for (int64_t i = 0; i < logits.size(0); ++i) {
    const auto index = static_cast<size_t>(first + i);
    const LogitRow& row = input.logit_rows[index];
    // Rows of a chunk follow each other, so its first row opens the chunk's entry.
    if (index == 0 || input.logit_rows[index - 1].chunk_index != row.chunk_index) {
      samples.emplace_back().id = plan.chunks[row.chunk_index].id;
    }
    SequenceState& state = *input.sequences[row.chunk_index];
    OCTET_CHECK(state.sampler.has_value(), "sequence ", samples.back().id,
                " has no sampler on the last stage");
    const float* data = logits.rows(i, 1).data<float>();
    use_row(row, *state.sampler, {data, static_cast<size_t>(logits.size(1))}, workspace, samples.back());
  }
}

}  // namespace octet::worker
