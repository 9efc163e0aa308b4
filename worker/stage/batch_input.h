// Turns a batch plan and the sequences' states into what the model computes and what becomes of its logits.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "worker/batch/batch_plan.h"
#include "worker/model/rank_model.h"
#include "worker/stage/sequence_states.h"

namespace octet::worker {

enum class LogitUse {
  kSample,         // the next token
  kPromptLogprob,  // the log-probability of the prompt token at `position`
};

// What happens with one row of logits.
struct LogitRow {
  LogitUse use = LogitUse::kSample;
  uint32_t position = 0;   // of the token that the row predicts
  size_t chunk_index = 0;  // in the plan
};

// One step. Views the sequences' block tables, so it is valid until the states change.
struct BatchInput {
  ModelInput model;
  std::vector<LogitRow> logit_rows;       // [model.logit_rows.size()], by rising row
  std::vector<SequenceState*> sequences;  // [plan.chunks.size()]
};

// Advances the sequences by the plan and fills `input`, whose memory is used again. Errors: INVALID_ARGUMENT
// when the plan contradicts the states or exceeds their limits; then both are of no more use.
absl::Status make_batch_input(const BatchPlan& plan, SequenceStates& states, BatchInput& input);

}  // namespace octet::worker
