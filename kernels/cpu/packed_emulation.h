// What AVX2 and plain AVX-512 share in giving the bits of the bf16 and 8-bit instructions that they lack.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

// While it lives, fp32 operations of the thread read and write denormals as zero.
class FlushDenormals {
 public:
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | kDenormalsAreZero | kFlushToZero); }
  ~FlushDenormals() { _mm_setcsr(saved_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  static constexpr unsigned kDenormalsAreZero = 0x0040;
  static constexpr unsigned kFlushToZero = 0x8000;
  const unsigned saved_;
};

// A pair of a row, rounded to bf16 and widened again.
struct Pair {
  float even;
  float odd;
};
struct PairWeights {
  F32x16 even;
  F32x16 odd;
};
inline F32x16 add_products(F32x16 sum, const PairWeights& weights, const Pair& row) {
  const F32x16 with_odd = multiply_add(weights.odd, broadcast(row.odd), sum);
  return multiply_add(weights.even, broadcast(row.even), with_odd);
}

// To the nearest bf16, ties to even; denormals to zero, a NaN stays one (vcvtneps2bf16).
inline uint32_t round_to_bfloat16(uint32_t bits) {
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return (bits | 0x00400000) & 0xffff0000;
  if (magnitude < 0x00800000) return bits & 0x80000000;
  return (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
}
// pairs: [8]
inline void round_to_pairs(F32x16 x, Pair* pairs) {
  float lanes[kLanes];
  store(lanes, x);
  uint32_t bits[kLanes];
  __builtin_memcpy(bits, lanes, sizeof bits);
  for (uint32_t& b : bits) b = round_to_bfloat16(b);
  __builtin_memcpy(pairs, bits, sizeof bits);
}
// out: [16] bf16
inline void round_to_bfloat16(F32x16 x, uint16_t* out) {
  float lanes[kLanes];
  store(lanes, x);
  uint32_t bits[kLanes];
  __builtin_memcpy(bits, lanes, sizeof bits);
  for (int i = 0; i < kLanes; ++i) out[i] = static_cast<uint16_t>(round_to_bfloat16(bits[i]) >> 16);
}

// A quad of a row: bytes 0 and 2, and bytes 1 and 3, as two 16-bit numbers each.
struct Quad {
  uint32_t even;
  uint32_t odd;
};
inline uint32_t two_words(int32_t low, int32_t high) {
  return (static_cast<uint32_t>(low) & 0xffff) | static_cast<uint32_t>(high) << 16;
}
inline Quad make_quad(int32_t a, int32_t b, int32_t c, int32_t d) {
  return {two_words(a, c), two_words(b, d)};
}

inline float largest_magnitude(F32x16 low, F32x16 high) {
  float lanes[2 * kLanes];
  store(lanes, low);
  store(lanes + kLanes, high);
  uint32_t bits[2 * kLanes];
  __builtin_memcpy(bits, lanes, sizeof bits);
  uint32_t largest = 0;  // magnitudes are ordered as their bits are
  for (const uint32_t b : bits) {
    const uint32_t magnitude = b & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
  }
  float result = 0;
  __builtin_memcpy(&result, &largest, sizeof result);
  return result;
}
inline int32_t round_to_quads(F32x16 low, F32x16 high, Quad* quads) {
  float lanes[2 * kLanes];
  store(lanes, round_to_integer(low));
  store(lanes + kLanes, round_to_integer(high));
  int32_t integers[2 * kLanes];
  for (int i = 0; i < 2 * kLanes; ++i)
    integers[i] = lanes[i] > -127.0f ? static_cast<int32_t>(lanes[i]) : -127;
  int32_t sum = 0;
  for (const int32_t x : integers) sum += x;
  for (int i = 0; i < kLanes / 2; ++i) {
    const int32_t* const q = integers + 4 * i;
    quads[i] = make_quad(q[0], q[1], q[2], q[3]);
  }
  return sum;
}

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
