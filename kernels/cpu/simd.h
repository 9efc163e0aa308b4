// Sixteen fp32 lanes, the same bits on every instruction set: lane i of an operation depends on lane i of its
// operands only, products are added with one rounding where the code says so, and reductions follow one tree
// (i with i + 8, then + 4, + 2, + 1). For the files that are compiled once for each set, see cpu_kernels.h.
#pragma once

#include "kernels/cpu/cpu_kernels.h"

#if defined(__AVX512F__)
#include "kernels/cpu/simd_avx512.h"
#else
#include "kernels/cpu/simd_avx2.h"
#endif

namespace octet::kernels::OCTET_ISA {
namespace {

// The first count (1..15) lanes; the others are 0.
inline F32x16 load_first(const BFloat16* p, int64_t count) {
  BFloat16 padded[kLanes] = {};
  __builtin_memcpy(padded, p, static_cast<size_t>(count) * sizeof(BFloat16));
  return load(padded);
}

// The tree's first two levels: lane i of the result is (x[i] + x[i + 8]) + (x[i + 4] + x[i + 12]).
inline __m128 add_quarters(F32x16 x) {
  const __m256 eight = _mm256_add_ps(low_half(x), high_half(x));
  return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

// The sums of the lanes of a, b, c, d.
inline __m128 reduce_add(F32x16 a, F32x16 b, F32x16 c, F32x16 d) {
  __m128 lane0 = add_quarters(a);
  __m128 lane1 = add_quarters(b);
  __m128 lane2 = add_quarters(c);
  __m128 lane3 = add_quarters(d);
  _MM_TRANSPOSE4_PS(lane0, lane1, lane2, lane3);
  return _mm_add_ps(_mm_add_ps(lane0, lane2), _mm_add_ps(lane1, lane3));
}

inline float reduce_add(F32x16 x) {
  const __m128 four = add_quarters(x);
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// Some lane where a lane is not a number.
inline float reduce_maximum(F32x16 x) {
  const __m256 eight = _mm256_max_ps(low_half(x), high_half(x));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// e^x for x <= 0, within 2 units in the last place; 0 below -87.3, where fp32 starts to lose bits.
inline F32x16 exponential_of_nonpositive(F32x16 x) {
  const F32x16 lowest = broadcast(-87.3f);
  const F32x16 clamped = maximum(lowest, x);
  // x = n ln 2 + r with |r| <= ln(2) / 2; ln 2 in two parts, the first with few enough bits that n * part is
  // exact.
  const F32x16 n = round_to_integer(clamped * broadcast(1.44269504f));
  F32x16 r = subtract_product(clamped, n, broadcast(0.693359375f));
  r = subtract_product(r, n, broadcast(-2.12194440e-4f));
  // Cephes' minimax polynomial for (e^r - 1 - r) / r^2.
  F32x16 p = broadcast(1.9875691500e-4f);
  p = multiply_add(p, r, broadcast(1.3981999507e-3f));
  p = multiply_add(p, r, broadcast(8.3334519073e-3f));
  p = multiply_add(p, r, broadcast(4.1665795894e-2f));
  p = multiply_add(p, r, broadcast(1.6666665459e-1f));
  p = multiply_add(p, r, broadcast(5.0000001201e-1f));
  p = multiply_add(p, r * r, r + broadcast(1.0f));
  return zero_where_less(p * power_of_two(n), x, lowest);
}

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
