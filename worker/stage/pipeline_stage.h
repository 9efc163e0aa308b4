// One stage of a pipeline as its process drives it, whatever computes it: plans in, results out.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "base/clock.h"
#include "kernels/tensor.h"
#include "worker/batch/batch_plan.h"
#include "worker/batch/step_result.h"
#include "worker/link/link.h"
#include "worker/model/model_config.h"

namespace octet::worker {

// What a loaded stage holds, for Registry.Register.
struct StageShape {
  ModelConfig model;
  LayerRange layers;
  kernels::DType kv_cache_type = kernels::DType::kFloat32;
  uint32_t num_blocks = 0;   // what fits in the KV cache
  int64_t weight_bytes = 0;  // resident: packed on all ranks, and in place in the checkpoint once
};

class PipelineStage {
 public:
  virtual ~PipelineStage() = default;

  virtual const StageShape& shape() const = 0;
  // Each has a link from the previous stage and one to the next.
  virtual int num_ranks() const = 0;

  // Starts an epoch: forgets every sequence, takes the links and uses the first num_blocks blocks. Not while
  // execute() runs. Errors: INVALID_ARGUMENT for no blocks or more than shape().num_blocks, or for other than
  // one link a rank from the previous stage (none on the first) and to the next one (none on the last); then
  // no epoch runs.
  virtual absl::Status start_epoch(uint64_t epoch, StageLinks links, uint32_t num_blocks) = 0;

  // After start_epoch(), makes the connections of the ranks' devices to their neighbours', for which the
  // links carry the word; blocks until they are there. Nothing is to do where activations go over the links
  // themselves. Not while execute() runs. A failure ends the epoch. Errors: those of HandOff.
  virtual absl::Status connect(Time deadline) = 0;

  // Computes one plan; blocks until the activations are handed over, or the tokens sampled. One call at a
  // time. A failure (link, deadline, plan that contradicts the stage's state) is StepResult::error; it closes
  // the links, so that the neighbours fail as well, and only start_epoch() helps. timing.idle_ns and
  // resident_ns are the caller's to fill: only it knows when the plan arrived.
  virtual StepResult execute(const BatchPlan& plan) = 0;

  // Ends the epoch from any thread: a running connect() or execute() returns soon with an error, and so does
  // every later one.
  virtual void abort_epoch() = 0;
};

}  // namespace octet::worker
