// What a stage knows of each sequence between steps: which of its tokens are in the KV cache, and where.
// Follows the plans and refuses those that contradict it.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/batch/batch_plan.h"
#include "worker/sampling/constraints.h"
#include "worker/sampling/sampler.h"

namespace octet::worker {

// What no plan may exceed.
struct PlanLimits {
  uint32_t vocab_size = 0;
  uint32_t max_model_len = 0;     // tokens of a sequence
  uint32_t block_size = 0;        // tokens in a block
  uint32_t num_blocks = 0;        // blocks of the KV cache in use
  uint32_t max_batch_tokens = 0;  // rows of a micro-batch
};

struct SequenceState {
  uint32_t num_prompt_tokens = 0;
  uint32_t num_tokens = 0;                       // prompt and output, as far as plans have sampled it
  uint32_t num_computed = 0;                     // tokens whose keys and values are in the cache
  std::optional<uint64_t> last_step;             // of its last chunk
  std::vector<int32_t> block_table;              // block ids, by position
  std::optional<SequenceSampler> sampler;        // on the last stage
  std::optional<SequenceConstraint> constraint;  // on the last stage, for sequences that have one
};

class SequenceStates {
 public:
  // constraints: on the last stage, which samples; null on the others. Must outlive this.
  explicit SequenceStates(Constraints* constraints) : constraints_(constraints) {}

  // Forgets every sequence; from here on these limits hold.
  void reset(const PlanLimits& limits);
  const PlanLimits& limits() const { return limits_; }

  // Forgets the plan's released sequences, then takes its admitted ones. Errors: INVALID_ARGUMENT naming the
  // sequence.
  absl::Status release_and_admit(const BatchPlan& plan);

  // Advances a sequence by its chunk: the blocks are appended, the tokens count as computed, a sampled one as
  // known. The result is valid until the next release_and_admit() or reset(). Errors: INVALID_ARGUMENT naming
  // the sequence.
  absl::StatusOr<SequenceState*> advance(const SequenceChunk& chunk, uint64_t step);

 private:
  SequenceConstraint begin_constraint(const AdmittedSequence& sequence) const;
  absl::Status check_admitted(const AdmittedSequence& sequence) const;
  absl::Status check_sampling(const AdmittedSequence& sequence) const;
  absl::Status check_chunk(const SequenceChunk& chunk, const SequenceState& state, uint64_t step) const;
  absl::Status check_block_ids(SequenceId id, const std::vector<BlockId>& blocks) const;
  absl::Status check_blocks(const SequenceChunk& chunk, const SequenceState& state) const;

  Constraints* constraints_;
  PlanLimits limits_;
  std::unordered_map<SequenceId, SequenceState> states_;
};

}  // namespace octet::worker
