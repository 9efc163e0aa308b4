// The batch scheduler of the lead stage: decides, step by step, which tokens of which sequences the pipeline computes,
// and in which blocks of the KV cache their keys and values lie. Continuous batching at every step, prefill chunks and
// decodes in one micro-batch under a token budget, preemption by recomputation.
//
// Host-only arithmetic, owned by one thread: no mutex, no clock of its own, no gRPC, no tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "worker/batch/batch_plan.h"
#include "worker/batch/step_result.h"

namespace octet::worker {

struct SchedulerConfig {
  uint32_t num_blocks = 0;                // blocks of the KV cache, the same on every stage
  uint32_t block_size = 16;               // tokens in a block
  uint32_t max_batch_tokens = 512;        // rows of one micro-batch, prefill and decode together
  uint32_t max_running_sequences = 256;   // admitted sequences
  uint32_t max_waiting_sequences = 4096;  // submitted and not admitted
  uint32_t max_model_len = 4096;          // tokens of prompt and output together
  uint32_t vocab_size = 0;
  uint32_t max_micro_batches = 1;         // plans in flight; at least the number of stages keeps all of them busy
};

struct NewSequence {
  SequenceId id = 0;
  std::vector<TokenId> prompt;
  std::vector<TokenId> generated;  // elsewhere, before a move
  SamplingParams sampling;
  uint32_t max_tokens = 0;  // generated tokens, those in `generated` included
  std::vector<TokenId> stop_token_ids;
  Time deadline = kNoDeadline;
  int32_t priority = 0;  // lower runs first; equal ones by arrival
};

enum class FinishReason { kStop, kLength, kDeadline };

// Why a sequence was not taken, or was given up.
struct Refusal {
  enum class Kind { kInvalid, kOverloaded, kInternal };
  Kind kind = Kind::kInvalid;
  std::string message;  // names the field, the limit and the value
};

// News of one sequence.
struct SequenceUpdate {
  SequenceId id = 0;
  std::vector<ScoredToken> tokens;           // new output tokens
  std::vector<ScoredToken> prompt_logprobs;  // of prompt tokens after the first, in order, each exactly once
  std::optional<FinishReason> finish;        // nothing follows
  std::optional<Refusal> failure;            // nothing follows
};

struct SchedulerStats {
  uint32_t running = 0;
  uint32_t waiting = 0;
  uint32_t free_blocks = 0;
  uint32_t total_blocks = 0;
  uint64_t outstanding_prompt_tokens = 0;  // prompt tokens not yet computed, over all sequences
  uint64_t preemptions = 0;                // since the start
  uint32_t micro_batches_in_flight = 0;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerConfig& config);
  ~Scheduler();

  // Takes a sequence, or says why not: an empty prompt, a token outside the vocabulary, more tokens than the context or
  // the whole KV cache can hold, a full waiting queue. The id must be new.
  std::optional<Refusal> submit(NewSequence sequence, Time now);

  // Ends a sequence without an update; its blocks are free at once (stages run plans in order, so a block may be given
  // away while a plan that uses it is in flight). Unknown ids are ignored.
  void cancel(SequenceId id);

  // The next micro-batch, or nothing when no sequence can run now or max_micro_batches are in flight. A sequence is in at
  // most one micro-batch in flight; the running sequences are spread over the micro-batches so that all stages work.
  std::optional<BatchPlan> schedule(Time now);

  // Takes the last stage's result of the oldest plan in flight: advances its sequences, ends those that are finished
  // and frees their blocks.
  std::vector<SequenceUpdate> commit(const StepResult& result, Time now);

  // Ends sequences whose deadline has passed, with FinishReason::kDeadline.
  std::vector<SequenceUpdate> expire(Time now);
  Time next_deadline() const;

  // The epoch ended: plans in flight are void, every sequence waits to be prefilled again, all blocks are free, and step
  // numbers start again at 1.
  void reset();

  SchedulerStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace octet::worker
