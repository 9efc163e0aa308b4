// A checkpoint's matrix as the device multiplies with it: bf16, rows side by side.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/packed_weight.h"
#include "kernels/tensor.h"

namespace octet::kernels::cuda {

struct HostWeight {
  std::vector<uint16_t> elements;  // [num_columns, depth] bf16
  std::vector<float> scales;       // [num_columns], which products are multiplied with, or empty
};

// kBFloat16: every element rounded to nearest, an fp8 one after its scale. kFloat8 of an fp8 matrix: its
// elements as they are, each of which is a bf16, and the scales beside them. weight: [num_columns, depth]
// bf16, fp32 or fp8 in host memory, rows may be strided; scales: of an fp8 weight [1] or [num_columns] fp32,
// else empty.
HostWeight pack_weight(WeightFormat format, Tensor weight, Tensor scales);

}  // namespace octet::kernels::cuda
