// The values that go into the scheduler and come out of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "worker/batch/batch_plan.h"
#include "worker/batch/step_result.h"

namespace octet::worker {

// All counts must be at least 1; checked, not refused, since no client chooses them.
struct SchedulerConfig {
  uint32_t num_blocks = 0;                // blocks of the KV cache, the same on every stage
  uint32_t block_size = 16;               // tokens in a block
  uint32_t max_batch_tokens = 512;        // rows of one micro-batch, prefill and decode together
  uint32_t max_running_sequences = 256;   // admitted sequences
  uint32_t max_waiting_sequences = 4096;  // submitted and not admitted
  uint32_t max_model_len = 4096;          // tokens of prompt and output together
  uint32_t vocab_size = 0;
  uint32_t max_micro_batches = 1;  // plans in flight; at least the number of stages keeps all of them busy
  bool prefix_cache = true;        // full blocks are found again by sequences with the same beginning
};

// prompt_logprobs in `sampling` are computed whether or not `generated` is empty: who moves a sequence asks
// for them only where they are still missing.
struct NewSequence {
  SequenceId id = 0;
  std::vector<TokenId> prompt;
  std::vector<TokenId> generated;  // elsewhere, before a move
  SamplingParams sampling;
  uint32_t max_tokens = 0;  // generated tokens, those in `generated` included
  std::vector<TokenId> stop_token_ids;
  Time deadline = kNoDeadline;
  int32_t priority = 0;    // lower runs first; equal ones by arrival
  std::string cache_salt;  // shares cached blocks with sequences of the same salt only
};

constexpr size_t kMaxCacheSaltBytes = 128;

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
  std::vector<ScoredToken> tokens;           // new output tokens; a stop token is the last of them
  std::vector<ScoredToken> prompt_logprobs;  // of prompt tokens after the first, in order, each exactly once
  uint32_t num_cached_tokens = 0;      // of the prompt, found in the prefix cache; in the first news only
  std::optional<FinishReason> finish;  // nothing follows
  std::optional<Refusal> failure;      // nothing follows
};

// What a result of the last stage meant.
struct CommitOutcome {
  std::vector<SequenceUpdate> updates;
  // Set when the stages failed or contradict the plan: another step than the oldest in flight, a sample too
  // many or too few, a token outside the vocabulary. Nothing was changed then, and there are no updates: the
  // epoch has to end, which is reset().
  std::optional<std::string> error;
};

struct SchedulerStats {
  uint32_t running = 0;
  uint32_t waiting = 0;
  uint32_t free_blocks = 0;  // those included that keep content for the prefix cache
  uint32_t total_blocks = 0;
  uint64_t outstanding_prompt_tokens = 0;  // prompt tokens not yet computed, over all sequences
  uint64_t preemptions = 0;                // since the start
  uint32_t micro_batches_in_flight = 0;
  // Of the prefix cache, since the start.
  uint64_t prefix_query_tokens = 0;  // prompt tokens of sequences, counted when these are admitted first
  uint64_t prefix_hit_tokens = 0;    // those of them that were found
  uint64_t prefix_evictions = 0;     // blocks whose content made room
};

}  // namespace octet::worker
