// What the lead remembers of a plan until its result comes, and whether a result is that of the plan.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/batch/batch_plan.h"
#include "worker/batch/step_result.h"

namespace octet::worker {

struct PlanInFlight {
  struct Chunk {
    SequenceId id = 0;
    uint32_t num_tokens = 0;
    uint32_t num_prompt_logprobs = 0;
    bool samples = false;

    bool has_sample() const { return samples || num_prompt_logprobs > 0; }
  };

  explicit PlanInFlight(const BatchPlan& plan);

  uint64_t step = 0;
  std::vector<Chunk> chunks;  // in the plan's order
};

// Why the result is not that of the plan, or nothing when it is: the same step, no error of a stage, and one
// sample for each chunk that has one, in the plan's order, each with the token and the log-probabilities that
// the chunk asks for.
std::optional<std::string> contradiction(const PlanInFlight& plan, const StepResult& result,
                                         uint32_t vocab_size);

}  // namespace octet::worker
