// fp8 E4M3 of CUDA C++ for a host compiler.
#pragma once

#include <math.h>

#include <cstdint>

typedef uint8_t __nv_fp8_storage_t;
enum __nv_saturation_t { __NV_NOSAT, __NV_SATFINITE };
enum __nv_fp8_interpretation_t { __NV_E4M3 };

// To nearest, ties to even; beyond 448 to 448, a NaN to 0x7f.
inline __nv_fp8_storage_t __nv_cvt_float_to_fp8(float x, __nv_saturation_t, __nv_fp8_interpretation_t) {
  if (x != x) return 0x7f;
  const auto sign = static_cast<uint8_t>(signbit(x) ? 0x80 : 0);
  const float magnitude = fabsf(x);
  if (magnitude >= 448) return sign | 0x7e;
  // Steps of 2^-9 up to 2^-6, then eight in each power of two.
  const int exponent = magnitude < 0x1p-6f ? -6 : ilogbf(magnitude);
  const auto steps = static_cast<int>(nearbyintf(ldexpf(magnitude, 3 - exponent)));
  return static_cast<uint8_t>(sign | ((exponent + 6) * 8 + steps));
}
