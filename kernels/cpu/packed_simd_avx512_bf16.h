// packed_simd.h on AVX-512 with BF16 and VNNI.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

// Sums that fit in the registers beside what multiplies them.
inline constexpr int kMaxSums = 24;

struct I32x16 {
  __m512i v;
};
inline I32x16 broadcast_integer(int32_t x) {
  return {_mm512_set1_epi32(x)};
}
inline F32x16 to_float(I32x16 x) {
  return {_mm512_cvtepi32_ps(x.v)};
}

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

struct Quad {
  uint32_t bytes;
};
struct QuadWeights {
  __m512i v;
};
inline QuadWeights load_quad(const char* panel) {
  return {_mm512_loadu_si512(panel)};
}
inline I32x16 add_products(I32x16 sum, const QuadWeights& weights, const Quad& row) {
  return {_mm512_dpbusd_epi32(sum.v, weights.v, _mm512_set1_epi32(static_cast<int>(row.bytes)))};
}
inline Quad make_quad(int32_t a, int32_t b, int32_t c, int32_t d) {
  return {(static_cast<uint32_t>(a) & 0xff) | (static_cast<uint32_t>(b) & 0xff) << 8 |
          (static_cast<uint32_t>(c) & 0xff) << 16 | static_cast<uint32_t>(d) << 24};
}

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
