// Loads the weights of all ranks of a stage, each on its own threads, and logs how far it is.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/model/model_config.h"
#include "worker/model/weight_options.h"
#include "worker/model/weights.h"
#include "worker/stage/rank_threads.h"

namespace octet::worker {

struct StageWeights {
  std::vector<RankWeights> ranks;
  int64_t resident_bytes = 0;  // packed on all ranks, and in place once
};

// What is packed is packed, and what stays in place is read and mapped. Errors name file and tensor:
// NOT_FOUND, INVALID_ARGUMENT, RESOURCE_EXHAUSTED. The checkpoint must outlive the result.
absl::StatusOr<StageWeights> load_weights(const Checkpoint& checkpoint, const ModelConfig& model,
                                          LayerRange layers, const WeightOptions& options,
                                          std::span<const std::unique_ptr<kernels::Backend>> backends,
                                          RankThreads& threads);

}  // namespace octet::worker
