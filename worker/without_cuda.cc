// In the place of cuda_ranks.cc where the build has no CUDA.
#include "base/status.h"
#include "worker/cuda_ranks.h"

namespace octet::worker {

absl::StatusOr<std::vector<std::unique_ptr<kernels::Backend>>> make_cuda_ranks(const StageConfig&) {
  return invalid_field("--backend",
                       "this octet-worker was built without CUDA; 'cmake --preset cuda' builds one with it");
}

}  // namespace octet::worker
