// What the choice of a sequence's tokens depends on besides the logits: the last stage keeps one
// SequenceSampler for each, and kernels::Backend::sample() chooses (kernels/sample_row.h has the steps). All
// of it follows from the sequence's tokens and parameters, so it can be made anew after a preemption or a
// move.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/sample_row.h"
#include "worker/batch/batch_plan.h"
#include "worker/batch/sampling_params.h"
#include "worker/batch/step_result.h"
#include "worker/sampling/token_counts.h"

namespace octet::worker {

class SequenceSampler {
 public:
  // Every token id in the sequence and its parameters must be inside the vocabulary (the scheduler refuses
  // others).
  explicit SequenceSampler(const AdmittedSequence& sequence);

  // How the next token is to be chosen. Its random number depends on (seed, choice index, position) only, so
  // not on the batch. allowed: [ceil(vocab_size / 32)], bit i % 32 of word i / 32 for token i, or empty: all
  // are. The result views `allowed` and the sampler, and is valid until the sampler changes.
  kernels::SampleRow next_row(std::span<const uint32_t> allowed = {});

  // Counts the token as generated.
  void add(TokenId token);

  // How the prompt's token at `position` is to be scored.
  kernels::SampleRow prompt_row(uint32_t position) const;

 private:
  bool penalizes() const;
  void collect_changes();
  void ban_bad_words();
  void merge_counts();

  SamplingParams params_;
  std::vector<TokenId> tokens_;  // prompt and output
  uint32_t num_prompt_tokens_;
  TokenCounts counts_;                       // empty when no penalty is on
  std::vector<kernels::LogitEdit> changes_;  // bans and biases of the next token, by rising token
  std::vector<kernels::LogitEdit> edits_;    // those and the penalties
};

// Of finite logits; with the alternatives that were asked for.
ScoredToken scored_token(const kernels::SampledToken& sampled);

}  // namespace octet::worker
