// packed_simd.h on AVX-512 with BF16 and VNNI.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

// vdpbf16ps treats denormals so by itself.
struct FlushDenormals {};

struct Pair {
  uint32_t bits;
};
struct PairWeights {
  __m512i v;
};
inline PairWeights load_pair(const char* panel) {
  return {_mm512_loadu_si512(panel)};
}
inline F32x16 add_products(F32x16 sum, const PairWeights& weights, const Pair& row) {
  return {
      _mm512_dpbf16_ps(sum.v, (__m512bh)weights.v, (__m512bh)_mm512_set1_epi32(static_cast<int>(row.bits)))};
}
// pairs: [8]
inline void round_to_pairs(F32x16 x, Pair* pairs) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(pairs), (__m256i)_mm512_cvtneps_pbh(x.v));
}
// out: [16] bf16
inline void round_to_bfloat16(F32x16 x, uint16_t* out) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), (__m256i)_mm512_cvtneps_pbh(x.v));
}

struct Quad {
  uint32_t bytes;
};
struct QuadWeights {
  __m512i v;
};
inline QuadWeights load_quad(const char* panel) {
  return {_mm512_loadu_si512(panel)};
}
// In assembly: around its intrinsic GCC 12 copies every sum in every step of a loop.
inline I32x16 add_products(I32x16 sum, const QuadWeights& weights, const Quad& row) {
  const __m512i quads = _mm512_set1_epi32(static_cast<int>(row.bytes));
  asm("vpdpbusd %2, %1, %0" : "+v"(sum.v) : "v"(weights.v), "v"(quads));
  return sum;
}

inline float largest_magnitude(F32x16 low, F32x16 high) {
  const __m512i mask = _mm512_set1_epi32(0x7fffffff);  // magnitudes are ordered as their bits are
  const __m512i largest = _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(low.v), mask),
                                           _mm512_and_si512(_mm512_castps_si512(high.v), mask));
  const uint32_t bits = _mm512_reduce_max_epu32(largest);
  float result = 0;
  __builtin_memcpy(&result, &bits, sizeof result);
  return result;
}
inline int32_t round_to_quads(F32x16 low, F32x16 high, Quad* quads) {
  const __m512i lowest = _mm512_set1_epi32(-127);
  const __m512i a = _mm512_max_epi32(_mm512_cvtps_epi32(low.v), lowest);
  const __m512i b = _mm512_max_epi32(_mm512_cvtps_epi32(high.v), lowest);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(quads), _mm512_cvtepi32_epi8(a));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(quads + 4), _mm512_cvtepi32_epi8(b));
  return _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
}

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
