// octet-worker-cuda-emulated: the real worker, whose stage runs on emulated GPUs, one for each rank.
#include "tests/cuda_emulator/emulator.h"
#include "worker/cuda_ranks.h"
#include "worker/run_worker.h"

namespace octet::worker {
namespace {

constexpr size_t kBytesPerDevice = size_t{1} << 30;

absl::StatusOr<std::vector<std::unique_ptr<kernels::Backend>>> make_ranks(const StageConfig& config) {
  cuda_emulator::reset(config.num_ranks, kBytesPerDevice);
  return make_cuda_ranks(config);
}

}  // namespace
}  // namespace octet::worker

int main(int argc, char** argv) {
  return octet::worker::run_worker(argc, argv, {{"cuda-emulated", octet::worker::make_ranks}});
}
