// From a checkpoint's matrices to what a rank multiplies with: which stay in place, and packing the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "worker/model/weight_options.h"
#include "worker/model/weights.h"

namespace octet::worker {

// What the options make of a stage's part of the checkpoint, all ranks together.
struct WeightPlan {
  int64_t num_packed = 0;                            // matrices
  int64_t packed_bytes = 0;                          // of them in the checkpoint
  std::vector<std::span<const std::byte>> in_place;  // whole tensors
  int64_t in_place_bytes = 0;
};

// Looks everything up that the stage's ranks will, so that a checkpoint is refused before the long work.
// Errors: as find_rank_weights(), and INVALID_ARGUMENT naming file and tensor for one that the options cannot
// use.
absl::StatusOr<WeightPlan> plan_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                                        LayerRange layers, const WeightOptions& options);

// Bytes that the weights of the backend's rank take in its device's memory. Errors: as plan_weights().
absl::StatusOr<int64_t> device_weight_bytes(const Checkpoint& checkpoint, const ModelConfig& config,
                                            LayerRange layers, const WeightOptions& options,
                                            const kernels::Backend& backend);

// Called after each matrix, on the thread of the rank.
using PackObserver = std::function<void(const StoredMatrix& stored, const kernels::PackedWeight& packed)>;

// The weights of the backend's rank. A packed matrix's pages of the checkpoint leave this process's memory.
// Errors: as plan_weights(); RESOURCE_EXHAUSTED naming file and tensor when there is no memory to pack it.
absl::StatusOr<RankWeights> load_rank_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                                              LayerRange layers, const WeightOptions& options,
                                              kernels::Backend& backend, const PackObserver& observe);

}  // namespace octet::worker
