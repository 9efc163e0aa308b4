// A stage as the scheduler's tests need it: obeys batch plans exactly as a real one does, with a block table
// for each sequence and a KV cache in which every slot remembers what was written, and reports whatever no
// correct plan can do. Its model is a hash of the tokens so far.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "worker/batch/batch_plan.h"
#include "worker/batch/step_result.h"
#include "worker/lead/scheduler_types.h"

namespace octet::worker {

// The fake model: what comes after these tokens.
TokenId next_token(std::span<const TokenId> tokens, uint32_t vocab_size);
// The log-probability that it gives to the last of these tokens.
float fake_logprob(std::span<const TokenId> tokens);
// All that a sequence generates, given alone all the time it needs; `generated` before included.
std::vector<TokenId> expected_output(const NewSequence& sequence, const SchedulerConfig& config);
// Why it ends.
FinishReason expected_finish(const NewSequence& sequence, const SchedulerConfig& config);

class FakeStage {
 public:
  explicit FakeStage(const SchedulerConfig& config);

  // Computes a plan, in the order of the calls.
  StepResult execute(const BatchPlan& plan);
  // The logits of this sequence are NaN from now on.
  void poison(SequenceId id) { poisoned_.insert(id); }
  // No token can follow in this sequence.
  void refuse(SequenceId id) { refused_.insert(id); }
  // Forgets everything, as for a new epoch.
  void reset();

  // What a plan did that no correct one does.
  const std::vector<std::string>& errors() const { return errors_; }
  size_t num_sequences() const { return sequences_.size(); }

 private:
  struct State {
    std::vector<TokenId> tokens;
    uint32_t num_prompt_tokens = 0;
    uint32_t num_computed = 0;
    std::vector<BlockId> blocks;
    uint32_t num_cached_blocks = 0;  // of these, the first ones, which another sequence computed
    bool has_run = false;            // a chunk of it is computed
    SamplingParams sampling;
  };

  void admit(const AdmittedSequence& sequence);
  void take_tokens(const SequenceChunk& chunk, State& state);
  std::optional<SequenceId> reader_of(BlockId block, SequenceId but) const;
  void take_blocks(const SequenceChunk& chunk, State& state);
  void write_cache(const SequenceChunk& chunk, State& state);
  std::optional<SequenceSample> sample(const SequenceChunk& chunk, State& state);
  template <typename... Parts>
  void error(const Parts&... parts);

  SchedulerConfig config_;
  uint64_t last_step_ = 0;
  std::map<SequenceId, State> sequences_;
  std::vector<uint64_t> cache_;  // [num_blocks * block_size], hash of the tokens up to the slot's
  std::set<SequenceId> poisoned_;
  std::set<SequenceId> refused_;
  std::vector<std::string> errors_;
};

}  // namespace octet::worker
