// fp8 E4M3 (OFP8: bias 7, no infinities, 0x7f and 0xff are NaN) to bf16, which holds every value exactly.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

inline constexpr uint8_t kFloat8NaN = 0x7f;

// Exponents differ by 127 - 7; below the normal numbers man * 2^-9 is a normal bf16.
//   magnitude >= 8: (magnitude << 4) + (120 << 7)       magnitude < 8: kSubnormals[magnitude]
// NaN is not kept: pack() makes its column's scale NaN instead.
inline constexpr uint16_t kSubnormals[8] = {0x0000, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60};

inline uint16_t float8_to_bfloat16(uint8_t x) {
  const uint32_t magnitude = x & 0x7f;
  const uint32_t sign = static_cast<uint32_t>(x & 0x80) << 8;
  const uint32_t value = magnitude < 8 ? kSubnormals[magnitude] : (magnitude << 4) + (120 << 7);
  return static_cast<uint16_t>(sign | value);
}

// One pair of a panel, 32 bytes, to 32 bf16 at out (aligned to 64).
inline void expand_pair(const char* bytes, char* out) {
#if defined(__AVX512BW__)
  const __m512i x = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)));
  const __m512i magnitude = _mm512_and_si512(x, _mm512_set1_epi16(0x7f));
  const __m512i normal = _mm512_add_epi16(_mm512_slli_epi16(magnitude, 4), _mm512_set1_epi16(120 << 7));
  const __m512i subnormals =
      _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kSubnormals)));
  const __mmask32 is_subnormal = _mm512_cmplt_epu16_mask(magnitude, _mm512_set1_epi16(8));
  const __m512i value = _mm512_mask_permutexvar_epi16(normal, is_subnormal, magnitude, subnormals);
  const __m512i sign = _mm512_slli_epi16(_mm512_andnot_si512(_mm512_set1_epi16(0x7f), x), 8);
  _mm512_store_si512(out, _mm512_or_si512(value, sign));
#else
  for (int i = 0; i < 2; ++i) {
    const __m256i x = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes) + i));
    const __m256i magnitude = _mm256_and_si256(x, _mm256_set1_epi16(0x7f));
    const __m256i normal = _mm256_add_epi16(_mm256_slli_epi16(magnitude, 4), _mm256_set1_epi16(120 << 7));
    // Byte 2 m and 2 m + 1 of the table into each 16-bit lane whose magnitude is m < 8.
    const __m256i table =
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kSubnormals)));
    const __m256i first_byte = _mm256_mullo_epi16(magnitude, _mm256_set1_epi16(0x0202));
    const __m256i index = _mm256_add_epi8(first_byte, _mm256_set1_epi16(0x0100));
    const __m256i subnormal = _mm256_shuffle_epi8(table, index);
    const __m256i is_subnormal = _mm256_cmpgt_epi16(_mm256_set1_epi16(8), magnitude);
    const __m256i value = _mm256_blendv_epi8(normal, subnormal, is_subnormal);
    const __m256i sign = _mm256_slli_epi16(_mm256_andnot_si256(_mm256_set1_epi16(0x7f), x), 8);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out) + i, _mm256_or_si256(value, sign));
  }
#endif
}

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
