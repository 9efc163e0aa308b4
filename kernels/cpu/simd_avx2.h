// F32x16 on AVX2 and FMA: two registers. Included by simd.h only; simd_avx512.h has the same functions with
// the same bits.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace octet::kernels::OCTET_ISA {
namespace {

struct BFloat16 {
  uint16_t bits;
};

struct F32x16 {
  __m256 low;   // lanes 0..7
  __m256 high;  // lanes 8..15
};

// All ones in lane i where first + i < count.
inline __m256i lanes_below(int64_t first, int64_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count - first)), lane);
}

inline F32x16 zeros() {
  return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}
inline F32x16 broadcast(float x) {
  return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

inline F32x16 load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
inline __m256 widen(const BFloat16* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline F32x16 load(const BFloat16* p) {
  return {widen(p), widen(p + 8)};
}
inline void store(float* p, F32x16 x) {
  _mm256_storeu_ps(p, x.low);
  _mm256_storeu_ps(p + 8, x.high);
}

// The first count (1..15) lanes; the others are 0.
inline F32x16 load_first(const float* p, int64_t count) {
  return {_mm256_maskload_ps(p, lanes_below(0, count)), _mm256_maskload_ps(p + 8, lanes_below(8, count))};
}
inline void store_first(float* p, F32x16 x, int64_t count) {
  _mm256_maskstore_ps(p, lanes_below(0, count), x.low);
  _mm256_maskstore_ps(p + 8, lanes_below(8, count), x.high);
}

inline F32x16 operator+(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
inline F32x16 operator-(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
inline F32x16 operator*(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
inline F32x16 operator/(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
inline F32x16 multiply_add(F32x16 a, F32x16 b, F32x16 c) {  // a b + c
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline F32x16 subtract_product(F32x16 c, F32x16 a, F32x16 b) {  // c - a b
  return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
}
// b where a or b is not a number.
inline F32x16 maximum(F32x16 a, F32x16 b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
// b where a or b is not a number.
inline F32x16 minimum(F32x16 a, F32x16 b) {
  return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
inline F32x16 round_to_integer(F32x16 x) {
  return {_mm256_round_ps(x.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(x.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline __m256 power_of_two(__m256 n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
// 2^n for an integer n in [-126, 127].
inline F32x16 power_of_two(F32x16 n) {
  return {power_of_two(n.low), power_of_two(n.high)};
}
// x, but 0 where key < limit.
inline F32x16 zero_where_less(F32x16 x, F32x16 key, F32x16 limit) {
  return {_mm256_and_ps(x.low, _mm256_cmp_ps(key.low, limit.low, _CMP_NLT_UQ)),
          _mm256_and_ps(x.high, _mm256_cmp_ps(key.high, limit.high, _CMP_NLT_UQ))};
}

// Lanes i and i + 8, for the start of a reduction.
inline __m256 low_half(F32x16 x) {
  return x.low;
}
inline __m256 high_half(F32x16 x) {
  return x.high;
}

// Sixteen int32 lanes.
struct I32x16 {
  __m256i low;
  __m256i high;
};
inline I32x16 broadcast_integer(int32_t x) {
  return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
inline F32x16 to_float(I32x16 x) {
  return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)};
}

// How many elements of output dot_block() computes at once, by the registers there are.
inline constexpr int kMaxBlockRows = 3;
constexpr int block_columns(int rows) {
  return rows == 1 ? 4 : 2;
}

// Vectors of sums that packed_linear() keeps in registers beside what multiplies them. Two registers each.
inline constexpr int kMaxSums = 4;

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
