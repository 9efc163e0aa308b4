// Turns the logits of a step into its samples, on the last stage.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "worker/batch/step_result.h"
#include "worker/sampling/sampler.h"
#include "worker/stage/batch_input.h"

namespace octet::worker {

// Uses the logits of input.logit_rows from `first` on: samples tokens and scores prompt tokens, in row order.
// Appends to `samples` one entry for each chunk that samples or returns log-probabilities. logits: [num_rows,
// vocab_size] fp32 in the backend's memory. Called with one piece after the other.
void sample_rows(const BatchPlan& plan, BatchInput& input, int64_t first, kernels::Backend& backend,
                 const kernels::Tensor& logits, std::vector<SequenceSample>& samples);

}  // namespace octet::worker
