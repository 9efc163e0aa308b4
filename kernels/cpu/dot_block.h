// The dot product under linear and paged_attention: a block of rows with a block of columns, in registers.
#pragma once

#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

// out[r * out_stride + c] = sum_k rows[r][k] * columns[c][k], k < depth. The order of additions of an element
// is fixed: lane k % 16 adds its products in order of k with fused multiply-adds, then the lanes are added by
// simd.h's tree. It does not depend on the block's size or on the element's place in it.
template <int kRows, int kColumns, typename Weight>
inline void dot_block(const float* const* rows, const Weight* const* columns, int64_t depth, float* out,
                      int64_t out_stride) {
  F32x16 sums[kRows][kColumns];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) sums[r][c] = zeros();
  }
  const auto add_products = [&](const auto& load_lanes) __attribute__((always_inline)) {
    F32x16 x[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) x[r] = load_lanes(rows[r]);
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      const F32x16 w = load_lanes(columns[c]);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sums[r][c] = multiply_add(x[r], w, sums[r][c]);
    }
  };
  int64_t k = 0;
  for (; k + kLanes <= depth; k += kLanes) {
    add_products([&](const auto* p) __attribute__((always_inline)) { return load(p + k); });
  }
  if (k < depth) {
    add_products([&](const auto* p) __attribute__((always_inline)) { return load_first(p + k, depth - k); });
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    float* const out_row = out + r * out_stride;
    if constexpr (kColumns % 4 == 0) {
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; c += 4) {
        _mm_storeu_ps(out_row + c, reduce_add(sums[r][c], sums[r][c + 1], sums[r][c + 2], sums[r][c + 3]));
      }
    } else {
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) out_row[c] = reduce_add(sums[r][c]);
    }
  }
}

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
