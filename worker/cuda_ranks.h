// The ranks of a stage for --backend cuda: rank r runs on the r-th GPU that this process sees
// (CUDA_VISIBLE_DEVICES chooses).
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/stage/stage.h"

namespace octet::worker {

// Errors: INVALID_ARGUMENT naming the flag: no GPU or too few, one that is too old, weights that the backend
// does not have, or a build without CUDA (without_cuda.cc).
absl::StatusOr<std::vector<std::unique_ptr<kernels::Backend>>> make_cuda_ranks(const StageConfig& config);

}  // namespace octet::worker
