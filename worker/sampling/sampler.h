// Chooses tokens from logits, on the last stage. One SequenceSampler holds what the choice of one sequence depends on;
// all of it follows from the sequence's tokens and parameters, so it can be made anew after a preemption or a move.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "worker/batch/batch_plan.h"
#include "worker/batch/sampling_params.h"
#include "worker/batch/step_result.h"

namespace octet::worker {

// Room for one row of logits and candidates, shared by the sequences that one thread samples.
class SamplerWorkspace {
 public:
  explicit SamplerWorkspace(uint32_t vocab_size);
  uint32_t vocab_size() const { return vocab_size_; }
  std::span<float> logits() { return logits_; }              // [vocab_size]
  std::vector<TokenId>& candidates() { return candidates_; }  // scratch

 private:
  uint32_t vocab_size_;
  std::vector<float> logits_;
  std::vector<TokenId> candidates_;
};

class SequenceSampler {
 public:
  explicit SequenceSampler(const AdmittedSequence& sequence);

  // Samples the next token from its position's logits ([vocab_size] fp32, raw) and counts it as generated. Random
  // numbers: Philox keyed by (seed, choice index, position), so the same whatever the batch. nullopt when the logits hold
  // NaN or infinity.
  std::optional<ScoredToken> sample(std::span<const float> logits, SamplerWorkspace& workspace);

  // The token that the prompt has at `position`.
  TokenId prompt_token(uint32_t position) const;
  const SamplingParams& params() const { return params_; }

 private:
  SamplingParams params_;
  std::vector<TokenId> tokens_;  // prompt and output
  uint32_t num_prompt_tokens_;
};

// The log-probability of `token` under the logits, with num_top alternatives. nullopt when the logits hold NaN or
// infinity.
std::optional<ScoredToken> score_token(std::span<const float> logits, TokenId token, uint32_t num_top,
                                       SamplerWorkspace& workspace);

}  // namespace octet::worker
