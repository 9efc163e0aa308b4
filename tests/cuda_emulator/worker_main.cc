// octet-worker-cuda-emulated: the real worker, whose stage runs on emulated GPUs, one for each rank.
#include <numeric>

#include "base/status.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/cuda_emulator/emulator.h"
#include "worker/run_worker.h"

namespace octet::worker {
namespace {

absl::StatusOr<std::vector<std::unique_ptr<kernels::Backend>>> make_ranks(const StageConfig& config) {
  if (config.weights.format && *config.weights.format != kernels::WeightFormat::kBFloat16) {
    return invalid_field("--weights", "must be auto or bf16 with --backend cuda-emulated");
  }
  cuda_emulator::reset(config.num_ranks, size_t{1} << 30);
  std::vector<int> devices(static_cast<size_t>(config.num_ranks));
  std::iota(devices.begin(), devices.end(), 0);
  return kernels::make_cuda_ranks(devices);
}

}  // namespace
}  // namespace octet::worker

int main(int argc, char** argv) {
  return octet::worker::run_worker(argc, argv, {{"cuda-emulated", octet::worker::make_ranks}});
}
