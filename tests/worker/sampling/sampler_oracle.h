// What the sampler should do, written as plainly as it can be: float64, everything sorted, everything counted
// anew.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "worker/batch/batch_plan.h"
#include "worker/sampling/sampler.h"

namespace octet::worker {

// The logits after bad words, suppression, bias and penalties; minus infinity for a banned token.
std::vector<double> oracle_logits(std::span<const float> raw, const AdmittedSequence& sequence);
// The probabilities after temperature, min_p, top_k and top_p; 0 for a token filtered out. [vocab_size]
std::vector<double> oracle_probabilities(std::span<const float> raw, const AdmittedSequence& sequence);
// The next token.
TokenId oracle_choice(std::span<const float> raw, const AdmittedSequence& sequence);

// What the sampler under test chooses from its next position's logits, on a CPU; it counts the token. nullopt
// when the logits are not finite.
std::optional<ScoredToken> sample_next(SequenceSampler& sampler, std::vector<float> logits,
                                       std::span<const uint32_t> allowed = {});

}  // namespace octet::worker
