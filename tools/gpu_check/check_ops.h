// Every op of the CUDA backend against the float64 oracle of tests/kernels, with random data of a fresh seed
// and outputs that are NaN before.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace octet::gpu_check {

struct CheckResult {
  std::string name;     // of the op and its shape
  std::string problem;  // the first element that is off, or empty
};

// rank: the only one of its stage. head_dims: of the attention to check.
std::vector<CheckResult> check_ops(kernels::Backend& rank, uint64_t seed,
                                   const std::vector<int64_t>& head_dims);

}  // namespace octet::gpu_check
