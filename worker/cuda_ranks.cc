#include "worker/cuda_ranks.h"

#include <numeric>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/cuda/cuda_backend.h"

namespace octet::worker {

absl::StatusOr<std::vector<std::unique_ptr<kernels::Backend>>> make_cuda_ranks(const StageConfig& config) {
  if (config.weights.format == kernels::WeightFormat::kInt8) {
    return invalid_field("--weights", absl::StrCat("must be auto, bf16 or fp8 with --backend ",
                                                   config.backend, ", given int8"));
  }
  const kernels::CudaDevices found = kernels::count_cuda_devices();
  if (!found.problem.empty()) return invalid_field("--backend", found.problem);
  if (found.num_devices < config.num_ranks) {
    return invalid_field(
        "--tp", absl::StrCat("each of the ", config.num_ranks,
                             " ranks needs a GPU of its own, and this process sees ", found.num_devices));
  }
  std::vector<int> devices(static_cast<size_t>(config.num_ranks));
  std::iota(devices.begin(), devices.end(), 0);
  for (const int device : devices) {
    if (const std::optional<std::string> problem = kernels::find_cuda_problem(device)) {
      return invalid_field("--backend", *problem);
    }
    if (config.weights.format == kernels::WeightFormat::kFloat8 && !kernels::has_fp8_products(device)) {
      return invalid_field(
          "--weights", absl::StrCat("CUDA device ", device,
                                    " does not multiply fp8, which takes compute capability "
                                    "8.9; with auto, weights that are fp8 in the checkpoint become bf16"));
    }
  }
  kernels::CudaOptions options;
  if (config.deterministic) options.determinism = kernels::Determinism::kDeterministic;
  options.join_timeout = config.join_timeout;
  options.step_timeout = config.step_timeout;
  return kernels::make_cuda_ranks(devices, options);
}

}  // namespace octet::worker
