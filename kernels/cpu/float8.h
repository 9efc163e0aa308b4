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

constexpr uint16_t float8_to_bfloat16(uint8_t x) {
  const uint32_t magnitude = x & 0x7f;
  const uint32_t sign = static_cast<uint32_t>(x & 0x80) << 8;
  const uint32_t value = magnitude < 8 ? kSubnormals[magnitude] : (magnitude << 4) + (120 << 7);
  return static_cast<uint16_t>(sign | value);
}

// Two pairs of a panel, 64 bytes, to twice 32 bf16 at out (aligned to 64).
#if defined(__AVX512VBMI__)
// The low and the high byte of the bf16 of each magnitude.
struct Float8Table {
  alignas(64) uint8_t low[128];
  alignas(64) uint8_t high[128];
};
constexpr Float8Table make_float8_table() {
  Float8Table table = {};
  for (int magnitude = 0; magnitude < 128; ++magnitude) {
    const uint16_t value = float8_to_bfloat16(static_cast<uint8_t>(magnitude));
    table.low[magnitude] = static_cast<uint8_t>(value & 0xff);
    table.high[magnitude] = static_cast<uint8_t>(value >> 8);
  }
  return table;
}
inline constexpr Float8Table kFloat8Table = make_float8_table();

inline void expand_pairs(const char* bytes, char* out) {
  const __m512i x = _mm512_loadu_si512(bytes);
  const auto look_up = [&](const uint8_t* table) __attribute__((always_inline)) {
    return _mm512_permutex2var_epi8(_mm512_load_si512(table), x, _mm512_load_si512(table + 64));
  };
  const __m512i low = look_up(kFloat8Table.low);
  // high | (x & 0x80)
  const __m512i high = _mm512_ternarylogic_epi32(look_up(kFloat8Table.high), x, _mm512_set1_epi8(-128), 0xf8);
  _mm512_store_si512(out, _mm512_unpacklo_epi8(low, high));
  _mm512_store_si512(out + 64, _mm512_unpackhi_epi8(low, high));
}
#elif defined(__AVX512BW__)
// x: 16-bit lanes.
inline __m512i expand(__m512i x) {
  const __m512i magnitude = _mm512_and_si512(x, _mm512_set1_epi16(0x7f));
  const __m512i normal = _mm512_add_epi16(_mm512_slli_epi16(magnitude, 4), _mm512_set1_epi16(120 << 7));
  const __m512i subnormals =
      _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kSubnormals)));
  const __mmask32 is_subnormal = _mm512_cmplt_epu16_mask(magnitude, _mm512_set1_epi16(8));
  const __m512i value = _mm512_mask_permutexvar_epi16(normal, is_subnormal, magnitude, subnormals);
  return _mm512_or_si512(value, _mm512_slli_epi16(_mm512_andnot_si512(_mm512_set1_epi16(0x7f), x), 8));
}
inline void expand_pairs(const char* bytes, char* out) {
  const __m512i x = _mm512_loadu_si512(bytes);
  _mm512_store_si512(out, expand(_mm512_unpacklo_epi8(x, _mm512_setzero_si512())));
  _mm512_store_si512(out + 64, expand(_mm512_unpackhi_epi8(x, _mm512_setzero_si512())));
}
#else
// x: 16-bit lanes.
inline __m256i expand(__m256i x) {
  const __m256i magnitude = _mm256_and_si256(x, _mm256_set1_epi16(0x7f));
  const __m256i normal = _mm256_add_epi16(_mm256_slli_epi16(magnitude, 4), _mm256_set1_epi16(120 << 7));
  // Bytes 2 m and 2 m + 1 of the table into each 16-bit lane whose magnitude is m < 8.
  const __m256i table =
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kSubnormals)));
  const __m256i index =
      _mm256_add_epi8(_mm256_mullo_epi16(magnitude, _mm256_set1_epi16(0x0202)), _mm256_set1_epi16(0x0100));
  const __m256i is_subnormal = _mm256_cmpgt_epi16(_mm256_set1_epi16(8), magnitude);
  const __m256i value = _mm256_blendv_epi8(normal, _mm256_shuffle_epi8(table, index), is_subnormal);
  return _mm256_or_si256(value, _mm256_slli_epi16(_mm256_andnot_si256(_mm256_set1_epi16(0x7f), x), 8));
}
inline void expand_pairs(const char* bytes, char* out) {
  for (int i = 0; i < 2; ++i) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes) + i);
    __m256i* const half = reinterpret_cast<__m256i*>(out) + i;
    _mm256_store_si256(half, expand(_mm256_unpacklo_epi8(x, _mm256_setzero_si256())));
    _mm256_store_si256(half + 2, expand(_mm256_unpackhi_epi8(x, _mm256_setzero_si256())));
  }
}
#endif

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
