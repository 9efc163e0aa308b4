// What the stages answer to a batch plan.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/batch/tokens.h"

namespace octet::worker {

// Where a stage's time went in one step, on its slowest rank.
struct StepTiming {
  uint64_t compute_ns = 0;
  uint64_t receive_wait_ns = 0;
  uint64_t send_ns = 0;
  uint64_t idle_ns = 0;      // waiting for a plan
  uint64_t resident_ns = 0;  // from the plan's arrival at the stage to its result
  uint64_t sent_bytes = 0;   // activations handed over, all ranks
};

// Outcome for one chunk that samples or returns log-probabilities.
struct SequenceSample {
  SequenceId id = 0;
  std::optional<ScoredToken> token;
  std::vector<ScoredToken> prompt_logprobs;
  bool not_finite = false;   // the logits held NaN or infinity
  std::string refusal = {};  // not empty: the sequence's constraint lets no token follow, and why
};

struct StepResult {
  uint64_t step = 0;
  std::vector<SequenceSample> samples;  // from the last stage only, in the plan's order
  StepTiming timing;
  std::string error;  // not empty: the stage, which it names, cannot go on and the epoch ends
};

}  // namespace octet::worker
