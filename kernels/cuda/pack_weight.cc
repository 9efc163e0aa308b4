#include "kernels/cuda/pack_weight.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace octet::kernels::cuda {
namespace {

uint16_t to_bfloat16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// E4M3: sign, 4 bits of exponent (bias 7), 3 of mantissa; all ones but the sign is a NaN; no infinities.
float from_float8(uint8_t x) {
  const int exponent = x >> 3 & 15;
  const int mantissa = x & 7;
  if (exponent == 15 && mantissa == 7) return NAN;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (x & 0x80) != 0 ? -magnitude : magnitude;
}

float element(const Tensor& weight, int64_t offset) {
  const char* const data = weight.data<const char>();
  if (weight.dtype() == DType::kFloat8E4M3) return from_float8(static_cast<uint8_t>(data[offset]));
  float x = 0;
  if (weight.dtype() == DType::kFloat32) {
    std::memcpy(&x, data + 4 * offset, 4);  // may be aligned to two bytes only
    return x;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, data + 2 * offset, 2);
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace

HostWeight pack_weight(WeightFormat format, Tensor weight, Tensor scales) {
  const bool is_fp8 = weight.dtype() == DType::kFloat8E4M3;
  OCTET_CHECK(format == WeightFormat::kBFloat16 || (format == WeightFormat::kFloat8 && is_fp8),
              "the CUDA backend packs bf16, and fp8 of fp8 checkpoints, not ", name_of(format));
  HostWeight packed;
  packed.elements.reserve(static_cast<size_t>(weight.num_elements()));
  for (int64_t n = 0; n < weight.size(0); ++n) {
    const float scale = is_fp8 ? scales.data<const float>()[scales.num_elements() == 1 ? 0 : n] : 1.0f;
    if (format == WeightFormat::kFloat8) packed.scales.push_back(scale);
    const float factor = format == WeightFormat::kFloat8 ? 1.0f : scale;
    for (int64_t k = 0; k < weight.size(1); ++k) {
      packed.elements.push_back(to_bfloat16(element(weight, n * weight.row_stride() + k) * factor));
    }
  }
  return packed;
}

}  // namespace octet::kernels::cuda
