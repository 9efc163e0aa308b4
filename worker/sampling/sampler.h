// Chooses tokens from logits, on the last stage. One SequenceSampler holds what the choice of one sequence
// depends on; all of it follows from the sequence's tokens and parameters, so it can be made anew after a
// preemption or a move.
//
// The order of the steps is vLLM's:
// 1. On the raw logits: bad words, suppression before min_tokens, logit bias, then repetition, frequency and
//    presence penalty.
// 2. With temperature 0 the largest logit wins, the lowest id among equal ones.
// 3. Otherwise temperature, min_p, top_k, top_p, and one draw by inverse CDF over the tokens that are left,
//    in order of their ids.
// Ties are broken by the lowest id everywhere, so exactly top_k tokens are left and top_k 1 is greedy. When
// bad words, suppression and bias ban the whole vocabulary, the token with the largest raw logit is taken.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "worker/batch/batch_plan.h"
#include "worker/batch/sampling_params.h"
#include "worker/batch/step_result.h"
#include "worker/sampling/token_counts.h"

namespace octet::worker {

// Room for one row of the vocabulary, shared by the sequences that one thread samples.
class SamplerWorkspace {
 public:
  explicit SamplerWorkspace(uint32_t vocab_size);
  uint32_t vocab_size() const { return vocab_size_; }

 private:
  friend class SequenceSampler;
  friend std::optional<ScoredToken> score_token(std::span<const float> logits, TokenId token,
                                                uint32_t num_top, SamplerWorkspace& workspace);
  uint32_t vocab_size_;
  std::vector<float> logits_;        // [vocab_size], after penalties and bias
  std::vector<double> weights_;      // [vocab_size], not normalised probabilities
  std::vector<TokenId> candidates_;  // at most vocab_size
};

class SequenceSampler {
 public:
  // Every token id in the sequence and its parameters must be inside the vocabulary (the scheduler refuses
  // others).
  explicit SequenceSampler(const AdmittedSequence& sequence);

  // Samples the next token from its position's logits ([vocab_size] fp32, raw) and counts it as generated.
  // Random numbers: see philox.h; they depend on (seed, choice index, position) only, so not on the batch.
  // The logprob is that of the raw logits, and 0 when params().logprobs is not set. nullopt when the logits
  // hold NaN or infinity.
  std::optional<ScoredToken> sample(std::span<const float> logits, SamplerWorkspace& workspace);

  // The token that the prompt has at `position`.
  TokenId prompt_token(uint32_t position) const;
  const SamplingParams& params() const { return params_; }

 private:
  TokenId choose(std::span<const float> logits, SamplerWorkspace& workspace) const;
  bool penalizes() const;
  void adjust(std::span<float> logits) const;
  void ban_bad_words(std::span<float> logits) const;
  void penalize(std::span<float> logits) const;

  SamplingParams params_;
  std::vector<TokenId> tokens_;  // prompt and output
  uint32_t num_prompt_tokens_;
  TokenCounts counts_;  // empty when no penalty is on
};

// The log-probability of `token` under the raw logits ([vocab_size] fp32), with num_top alternatives: the
// most likely tokens, best first, equal ones by rising id. nullopt when the logits hold NaN or infinity.
std::optional<ScoredToken> score_token(std::span<const float> logits, TokenId token, uint32_t num_top,
                                       SamplerWorkspace& workspace);

}  // namespace octet::worker
