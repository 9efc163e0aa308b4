// What the sampler should do, written as plainly as it can be: float64, everything sorted, everything counted
// anew.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "worker/batch/batch_plan.h"

namespace octet::worker {

// The logits after bad words, suppression, bias and penalties; minus infinity for a banned token.
std::vector<double> oracle_logits(std::span<const float> raw, const AdmittedSequence& sequence);
// The probabilities after temperature, min_p, top_k and top_p; 0 for a token filtered out. [vocab_size]
std::vector<double> oracle_probabilities(std::span<const float> raw, const AdmittedSequence& sequence);
// The token at which the probabilities, in order of ids, first sum to more than `draw`.
TokenId oracle_pick(const std::vector<double>& probabilities, double draw);
// log-softmax of the raw logits.
std::vector<double> oracle_logprobs(std::span<const float> raw);
// All ids, the largest value first, equal ones by rising id.
std::vector<TokenId> oracle_ranking(const std::vector<double>& values);

}  // namespace octet::worker
