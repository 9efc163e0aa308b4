// The CUDA backend: a rank is one GPU and one stream. Ops are put on the stream and return; what they compute
// is there after synchronize(). Tensors are device memory from allocate(); token ids, positions and block
// tables are host memory and copied before the call returns.
//
// A rank alone so far: no collectives and no packed weights, so worker does not offer it yet.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "kernels/backend.h"

namespace octet::kernels {

class CudaRank : public Backend {
 public:
  // Waits for everything put on the stream.
  virtual void synchronize() = 0;
  // Copies between host memory and device memory; both wait for what was put on the stream before.
  virtual void upload(void* device, const void* host, int64_t num_bytes) = 0;
  virtual void download(void* host, const void* device, int64_t num_bytes) = 0;
};

// What keeps this machine from running a rank on a device, or nothing: no driver, no such device, too old a
// one.
std::optional<std::string> find_cuda_problem(int device);

// Requires !find_cuda_problem(device).
std::unique_ptr<CudaRank> make_cuda_rank(int device);

}  // namespace octet::kernels
