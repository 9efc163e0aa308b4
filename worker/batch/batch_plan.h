// What one step computes, as the scheduler decided it and every stage obeys it. proto/octet/v1/stage.proto is
// the same on the wire.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/batch/sampling_params.h"
#include "worker/batch/tokens.h"

namespace octet::worker {

// A sequence that enters the pipeline, or enters again after preemption; voids any state a stage had for it.
struct AdmittedSequence {
  SequenceId id = 0;
  std::vector<TokenId> tokens;  // prompt, then what was generated before
  uint32_t num_prompt_tokens = 0;
  SamplingParams sampling;
  // The first blocks of its block table: full, computed for other sequences by earlier plans or earlier
  // chunks of this one, and not to be written. Its first chunk starts after them; at least one token is left
  // to compute.
  std::vector<BlockId> cached_blocks;

  bool operator==(const AdmittedSequence&) const = default;
};

// The part of a sequence that one micro-batch computes: a chunk of its prefill or one decode.
struct SequenceChunk {
  SequenceId id = 0;
  uint32_t start_position = 0;      // position of tokens[0] in the sequence
  std::vector<TokenId> tokens;      // one row each
  std::vector<BlockId> new_blocks;  // appended to the sequence's block table for these tokens
  bool samples = false;             // the last row's logits are sampled
  // Row r predicts the prompt token at start_position + r + 1; rows [first, end) return its log-probability.
  uint32_t first_prompt_logprob_row = 0;
  uint32_t end_prompt_logprob_row = 0;

  bool operator==(const SequenceChunk&) const = default;
};

struct BatchPlan {
  uint64_t step = 0;                       // rises by one within an epoch, from 1
  std::vector<AdmittedSequence> admitted;  // each also has a chunk in this plan
  std::vector<SequenceChunk> chunks;       // in row order
  std::vector<SequenceId> released;        // forgotten by the stages before anything else in the plan

  bool operator==(const BatchPlan&) const = default;
};

}  // namespace octet::worker
