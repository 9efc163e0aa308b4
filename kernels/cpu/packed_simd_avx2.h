// packed_simd.h on AVX2 and FMA.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/packed_emulation.h"
#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

inline __m256i load_half(const char* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline __m256 even_of(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}
inline __m256 odd_of(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000))));
}
inline PairWeights load_pair(const char* panel) {
  const __m256i low = load_half(panel);
  const __m256i high = load_half(panel + 32);
  return {.even = {even_of(low), even_of(high)}, .odd = {odd_of(low), odd_of(high)}};
}

// Four of eight columns' quads, as bytes.
struct QuadWeights {
  __m256i low;
  __m256i high;
};
inline QuadWeights load_quad(const char* panel) {
  return {load_half(panel), load_half(panel + 32)};
}
// Bytes 0 and 2 of each column's quad, and bytes 1 and 3, widened to 16 bits.
inline __m256i add_products(__m256i sum, __m256i quads, const Quad& row) {
  const __m256i even = _mm256_and_si256(quads, _mm256_set1_epi16(0xff));
  const __m256i odd = _mm256_srli_epi16(quads, 8);
  const __m256i products =
      _mm256_add_epi32(_mm256_madd_epi16(even, _mm256_set1_epi32(static_cast<int>(row.even))),
                       _mm256_madd_epi16(odd, _mm256_set1_epi32(static_cast<int>(row.odd))));
  return _mm256_add_epi32(sum, products);
}
inline I32x16 add_products(I32x16 sum, const QuadWeights& weights, const Quad& row) {
  return {add_products(sum.low, weights.low, row), add_products(sum.high, weights.high, row)};
}

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
