// The CUDA backend: a rank is one GPU and one stream. Ops are put on the stream and return; what they compute
// is there after upload() or download(). Tensors are device memory from allocate(); token ids, positions and
// block tables are host memory and copied before the call returns.
//
// A rank alone so far: no collectives and no packed weights, so worker does not offer it yet.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "kernels/backend.h"

namespace octet::kernels {

// What keeps this machine from running a rank on a device, or nothing: no driver, no such device, too old a
// one.
std::optional<std::string> find_cuda_problem(int device);

// Requires !find_cuda_problem(device).
std::unique_ptr<Backend> make_cuda_rank(int device);

}  // namespace octet::kernels
