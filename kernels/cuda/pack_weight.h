// A checkpoint's matrix as the device multiplies with it: bf16 or fp8, rows side by side.
#pragma once

#include <cstdint>

#include "kernels/packed_weight.h"
#include "kernels/tensor.h"

namespace octet::kernels::cuda {

// Columns first to first + count of a packed weight. kBFloat16: every element rounded to nearest, an fp8 one
// after its scale. kFloat8: an fp8 matrix as it is; any other rounded to the nearest fp8 of its column's
// scale, a 448th of the largest; both with a scale for each column.
//
// weight: [num_columns, depth] bf16, fp32 or fp8 in host memory, rows may be strided; scales: of an fp8
// weight [1] or [num_columns] fp32, else empty. element_type: bf16, which holds fp8 exactly, or fp8 for
// kFloat8. elements: [count, depth] of it; column_scales: [count], which products are multiplied with, of
// kFloat8.
void pack_columns(WeightFormat format, Tensor weight, Tensor scales, DType element_type, int64_t first,
                  int64_t count, char* elements, float* column_scales);

}  // namespace octet::kernels::cuda
