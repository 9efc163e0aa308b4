#include "kernels/cuda/pack_weight.h"

#include <algorithm>
#include <array>
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
float from_bfloat16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

constexpr float kLargestFloat8 = 448;

// The nearest E4M3 to x, |x| <= 448, ties to even.
uint8_t to_float8(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const uint32_t sign = bits >> 24 & 0x80;
  const uint32_t magnitude = bits & 0x7fffffff;
  if (std::bit_cast<float>(magnitude) < 0x1p-6f) {  // in steps of 2^-9
    const float steps = std::nearbyint(std::bit_cast<float>(magnitude) * 0x1p9f);
    return static_cast<uint8_t>(sign | static_cast<uint32_t>(steps));
  }
  constexpr uint32_t kDroppedBits = 20;  // of fp32's mantissa of 23
  const uint32_t rounded = magnitude + (1u << (kDroppedBits - 1)) - 1 + (magnitude >> kDroppedBits & 1);
  return static_cast<uint8_t>(sign | ((rounded >> kDroppedBits) - ((127 - 7) << 3)));
}

// Calls function(x, k) for the elements of a column as fp32.
template <typename Function>
void for_each_element(const Tensor& weight, int64_t n, const Function& function) {
  const int64_t offset = n * weight.row_stride();
  const int64_t depth = weight.size(1);
  if (weight.dtype() == DType::kFloat32) {
    const float* const row = weight.data<const float>() + offset;
    for (int64_t k = 0; k < depth; ++k) function(row[k], k);
  } else if (weight.dtype() == DType::kBFloat16) {
    const uint16_t* const row = weight.data<const uint16_t>() + offset;
    for (int64_t k = 0; k < depth; ++k) function(from_bfloat16(row[k]), k);
  } else {
    static const std::array<float, 256> values = [] {
      std::array<float, 256> all;
      for (size_t code = 0; code < all.size(); ++code) all[code] = from_float8(static_cast<uint8_t>(code));
      return all;
    }();
    const uint8_t* const row = weight.data<const uint8_t>() + offset;
    for (int64_t k = 0; k < depth; ++k) function(values[row[k]], k);
  }
}

void round_column(const Tensor& weight, int64_t n, float factor, uint16_t* to) {
  for_each_element(weight, n, [&](float x, int64_t k) { to[k] = to_bfloat16(x * factor); });
}

void copy_column(const Tensor& weight, int64_t n, char* to) {
  const int64_t element_bytes = size_of(weight.dtype());
  std::memcpy(to, weight.data<const char>() + n * weight.row_stride() * element_bytes,
              static_cast<size_t>(weight.size(1) * element_bytes));
}

// Calls keep(code, k) for every element of the column and returns its scale.
template <typename Keep>
float quantise_column(const Tensor& weight, int64_t n, const Keep& keep) {
  float largest = 0;
  for_each_element(weight, n, [&](float x, int64_t) {
    const float magnitude = std::abs(x);
    if (magnitude > largest || std::isnan(magnitude)) largest = magnitude;  // and stays a NaN
  });
  const float scale = largest / kLargestFloat8;
  const bool is_flat = !(scale > 0) || std::isinf(scale);  // zeros, or not finite: the scale says so
  for_each_element(weight, n, [&](float x, int64_t k) {
    keep(to_float8(is_flat ? 0 : std::clamp(x / scale, -kLargestFloat8, kLargestFloat8)), k);
  });
  return scale;
}

}  // namespace

void pack_columns(WeightFormat format, Tensor weight, Tensor scales, DType element_type, int64_t first,
                  int64_t count, char* elements, float* column_scales) {
  OCTET_CHECK(format != WeightFormat::kInt8, "the CUDA backend packs bf16 and fp8, not ", name_of(format));
  const bool is_fp8 = weight.dtype() == DType::kFloat8E4M3;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t n = first + i;
    char* const to = elements + i * weight.size(1) * size_of(element_type);
    auto* const rounded = reinterpret_cast<uint16_t*>(to);
    const float scale = is_fp8 ? scales.data<const float>()[scales.num_elements() == 1 ? 0 : n] : 1.0f;
    if (format == WeightFormat::kBFloat16) {
      if (weight.dtype() == DType::kBFloat16) {
        copy_column(weight, n, to);
      } else {
        round_column(weight, n, scale, rounded);
      }
    } else if (is_fp8) {
      column_scales[i] = scale;
      if (element_type == DType::kFloat8E4M3) {
        copy_column(weight, n, to);
      } else {
        round_column(weight, n, 1, rounded);
      }
    } else if (element_type == DType::kFloat8E4M3) {
      column_scales[i] =
          quantise_column(weight, n, [&](uint8_t code, int64_t k) { to[k] = static_cast<char>(code); });
    } else {
      column_scales[i] = quantise_column(
          weight, n, [&](uint8_t code, int64_t k) { rounded[k] = to_bfloat16(from_float8(code)); });
    }
  }
}

}  // namespace octet::kernels::cuda
