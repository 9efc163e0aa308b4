// Weights for a backend that cannot read the mapped checkpoint.
#pragma once

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "worker/model/weights.h"

namespace octet::worker {

// Copies every tensor that views the checkpoint into the backend's memory, rows packed, where the backend has
// no host memory; else does nothing. Errors: RESOURCE_EXHAUSTED telling how much was asked for.
absl::Status move_to_device(RankWeights& weights, kernels::Backend& backend);

}  // namespace octet::worker
