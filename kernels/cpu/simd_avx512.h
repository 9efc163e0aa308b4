// F32x16 on AVX-512F: one register. Included by simd.h only; simd_avx2.h has the same functions with the same
// bits.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace octet::kernels::OCTET_ISA {
namespace {

struct BFloat16 {
  uint16_t bits;
};

struct F32x16 {
  __m512 v;
};

inline __mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>((1u << count) - 1u);
}

inline F32x16 zeros() {
  return {_mm512_setzero_ps()};
}
inline F32x16 broadcast(float x) {
  return {_mm512_set1_ps(x)};
}

inline F32x16 load(const float* p) {
  return {_mm512_loadu_ps(p)};
}
inline F32x16 load(const BFloat16* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
inline void store(float* p, F32x16 x) {
  _mm512_storeu_ps(p, x.v);
}

// The first count (1..15) lanes; the others are 0.
inline F32x16 load_first(const float* p, int64_t count) {
  return {_mm512_maskz_loadu_ps(first_lanes(count), p)};
}
inline void store_first(float* p, F32x16 x, int64_t count) {
  _mm512_mask_storeu_ps(p, first_lanes(count), x.v);
}

inline F32x16 operator+(F32x16 a, F32x16 b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline F32x16 operator-(F32x16 a, F32x16 b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline F32x16 operator*(F32x16 a, F32x16 b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline F32x16 operator/(F32x16 a, F32x16 b) {
  return {_mm512_div_ps(a.v, b.v)};
}
inline F32x16 multiply_add(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}  // a b + c
inline F32x16 subtract_product(F32x16 c, F32x16 a, F32x16 b) {
  return {_mm512_fnmadd_ps(a.v, b.v, c.v)};
}  // c - a b
// b where a or b is not a number.
inline F32x16 maximum(F32x16 a, F32x16 b) {
  return {_mm512_max_ps(a.v, b.v)};
}
// b where a or b is not a number.
inline F32x16 minimum(F32x16 a, F32x16 b) {
  return {_mm512_min_ps(a.v, b.v)};
}
inline F32x16 round_to_integer(F32x16 x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// 2^n for an integer n in [-126, 127].
inline F32x16 power_of_two(F32x16 n) {
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
}
// x, but 0 where key < limit.
inline F32x16 zero_where_less(F32x16 x, F32x16 key, F32x16 limit) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(key.v, limit.v, _CMP_NLT_UQ), x.v)};
}

// Lanes i and i + 8, for the start of a reduction.
inline __m256 low_half(F32x16 x) {
  return _mm512_castps512_ps256(x.v);
}
inline __m256 high_half(F32x16 x) {
  return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x.v), 1));
}

// Sixteen int32 lanes.
struct I32x16 {
  __m512i v;
};
inline I32x16 broadcast_integer(int32_t x) {
  return {_mm512_set1_epi32(x)};
}
inline F32x16 to_float(I32x16 x) {
  return {_mm512_cvtepi32_ps(x.v)};
}

// How many elements of output dot_block() computes at once, by the registers there are.
inline constexpr int kMaxBlockRows = 4;
constexpr int block_columns(int rows) {
  return rows <= 2 ? 8 : 4;
}

// Vectors of sums that packed_linear() keeps in registers beside what multiplies them.
inline constexpr int kMaxSums = 24;

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
