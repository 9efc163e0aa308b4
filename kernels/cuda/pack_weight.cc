#include "kernels/cuda/pack_weight.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

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

constexpr float kLargestFloat8 = 448;

// The nearest E4M3 to x, |x| <= 448, ties to even.
uint8_t to_float8(float x) {
  const float magnitude = std::abs(x);
  // Steps of 2^-9 up to 2^-6, then eight in each power of two.
  const int exponent = magnitude < 0x1p-6f ? -6 : std::ilogb(magnitude);
  const auto steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));
  return static_cast<uint8_t>((std::signbit(x) ? 0x80 : 0) | ((exponent + 6) * 8 + steps));
}

// Of the elements of a matrix from their offset on.
float largest_magnitude(const Tensor& weight, int64_t offset) {
  float largest = 0;
  for (int64_t k = 0; k < weight.size(1); ++k) {
    const float magnitude = std::abs(element(weight, offset + k));
    if (std::isnan(magnitude)) return magnitude;
    largest = std::max(largest, magnitude);
  }
  return largest;
}

class Packer {
 public:
  Packer(Tensor weight, DType element_type) : weight_(weight), element_type_(element_type) {
    packed_.elements.reserve(static_cast<size_t>(weight.num_elements() * size_of(element_type)));
  }

  void round_column(int64_t n, float factor) {
    for (int64_t k = 0; k < weight_.size(1); ++k)
      append(to_bfloat16(element(weight_, offset(n) + k) * factor));
  }
  // An fp8 matrix's.
  void copy_column(int64_t n, float scale) {
    packed_.scales.push_back(scale);
    for (int64_t k = 0; k < weight_.size(1); ++k) append_float8(weight_.data<const uint8_t>()[offset(n) + k]);
  }
  void quantise_column(int64_t n) {
    const float scale = largest_magnitude(weight_, offset(n)) / kLargestFloat8;
    packed_.scales.push_back(scale);
    const bool is_flat = !(scale > 0) || std::isinf(scale);  // zeros, or not finite: the scale says so
    for (int64_t k = 0; k < weight_.size(1); ++k) {
      const float x = is_flat ? 0 : element(weight_, offset(n) + k) / scale;
      append_float8(to_float8(std::clamp(x, -kLargestFloat8, kLargestFloat8)));
    }
  }

  HostWeight take() { return std::move(packed_); }

 private:
  int64_t offset(int64_t n) const { return n * weight_.row_stride(); }
  void append(uint16_t bits) {
    packed_.elements.push_back(static_cast<char>(bits & 0xff));
    packed_.elements.push_back(static_cast<char>(bits >> 8));
  }
  void append_float8(uint8_t code) {
    if (element_type_ == DType::kBFloat16) return append(to_bfloat16(from_float8(code)));
    packed_.elements.push_back(static_cast<char>(code));
  }

  const Tensor weight_;
  const DType element_type_;
  HostWeight packed_;
};

}  // namespace

HostWeight pack_weight(WeightFormat format, Tensor weight, Tensor scales, DType element_type) {
  OCTET_CHECK(format != WeightFormat::kInt8, "the CUDA backend packs bf16 and fp8, not ", name_of(format));
  const bool is_fp8 = weight.dtype() == DType::kFloat8E4M3;
  Packer packer(weight, element_type);
  for (int64_t n = 0; n < weight.size(0); ++n) {
    const float scale = is_fp8 ? scales.data<const float>()[scales.num_elements() == 1 ? 0 : n] : 1.0f;
    if (format == WeightFormat::kBFloat16) {
      packer.round_column(n, scale);
    } else if (is_fp8) {
      packer.copy_column(n, scale);
    } else {
      packer.quantise_column(n);
    }
  }
  return packer.take();
}

}  // namespace octet::kernels::cuda
