// The CUDA backend: a rank is one GPU and one stream. Ops are put on the stream and return; what they compute
// is there after upload() or download(). Tensors are device memory from allocate(); token ids, positions and
// block tables are host memory and copied before the call returns.
//
// pack() takes host memory and makes bf16 or fp8 of it; int8 is the CPU's. Where the device multiplies fp8,
// so do fp8 weights, by activations that are fp8 with a scale for each row; else they are multiplied as bf16.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace octet::kernels {

// How many devices this process sees; with none, why.
struct CudaDevices {
  int num_devices = 0;
  std::string problem;
};
CudaDevices count_cuda_devices();

// What keeps this machine from running a rank on a device, or nothing: no driver, no such device, too old a
// one.
std::optional<std::string> find_cuda_problem(int device);

// Whether the device multiplies fp8 (sm_89 and later).
bool has_fp8_products(int device);

// Whether a row's bits may depend on what else is in its batch.
enum class Determinism {
  kFast,  // they may: the library takes the fastest algorithm for each number of rows, and NCCL adds in
          // its own order
  kDeterministic,  // they do not: products of fixed numbers of rows by one algorithm, ranks added in their
                   // order
};

struct CudaOptions {
  Determinism determinism = Determinism::kFast;
  // After these, a device or another rank that does not answer ends the process with a line that says so.
  std::chrono::steady_clock::duration join_timeout = std::chrono::seconds(60);  // in making communicators
  std::chrono::steady_clock::duration step_timeout = std::chrono::seconds(10);  // in a wait for a device
};

// A stage's ranks, one on each of the devices; each is then called from a thread of its own. Requires
// !find_cuda_problem() of each, and no device twice.
std::vector<std::unique_ptr<Backend>> make_cuda_ranks(const std::vector<int>& devices,
                                                      const CudaOptions& options = {});

}  // namespace octet::kernels
