// packed_simd.h on AVX-512 without BF16 and VNNI.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/packed_emulation.h"
#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

inline PairWeights load_pair(const char* panel) {
  const __m512i pairs = _mm512_loadu_si512(panel);
  return {
      .even = {_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16))},
      .odd = {_mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000))))}};
}

// Bytes 0 and 2 of each column's quad, and bytes 1 and 3, widened to 16 bits.
struct QuadWeights {
  __m512i even;
  __m512i odd;
};
inline QuadWeights load_quad(const char* panel) {
  const __m512i quads = _mm512_loadu_si512(panel);
  return {_mm512_and_si512(quads, _mm512_set1_epi16(0xff)), _mm512_srli_epi16(quads, 8)};
}
inline I32x16 add_products(I32x16 sum, const QuadWeights& weights, const Quad& row) {
  const __m512i even = _mm512_madd_epi16(weights.even, _mm512_set1_epi32(static_cast<int>(row.even)));
  const __m512i odd = _mm512_madd_epi16(weights.odd, _mm512_set1_epi32(static_cast<int>(row.odd)));
  return {_mm512_add_epi32(sum.v, _mm512_add_epi32(even, odd))};
}

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
