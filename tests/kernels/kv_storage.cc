#include "tests/kernels/kv_storage.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace octet::kernels {
namespace {

float from_bfloat16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace

uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float rounded_to(DType dtype, float value) {
  return dtype == DType::kBFloat16 ? from_bfloat16(to_bfloat16(value)) : value;
}

KvStorage::KvStorage(DType dtype, int64_t num_elements, float value)
    : dtype_(dtype), bytes_(static_cast<size_t>(num_elements * size_of(dtype))) {
  for (int64_t i = 0; i < num_elements; ++i) set(i, value);
}

void KvStorage::set(int64_t i, float value) {
  if (dtype_ == DType::kBFloat16) {
    const uint16_t bits = to_bfloat16(value);
    std::memcpy(bytes_.data() + 2 * i, &bits, sizeof bits);
  } else {
    std::memcpy(bytes_.data() + 4 * i, &value, sizeof value);
  }
}

float KvStorage::at(int64_t i) const {
  float value = 0;
  if (dtype_ == DType::kBFloat16) {
    uint16_t bits = 0;
    std::memcpy(&bits, bytes_.data() + 2 * i, sizeof bits);
    return from_bfloat16(bits);
  }
  std::memcpy(&value, bytes_.data() + 4 * i, sizeof value);
  return value;
}

std::vector<float> KvStorage::elements(int64_t first, int64_t count) const {
  std::vector<float> result;
  for (int64_t i = first; i < first + count; ++i) result.push_back(at(i));
  return result;
}

Tensor KvStorage::tensor(std::initializer_list<int64_t> sizes) {
  return Tensor(bytes_.data(), dtype_, sizes);
}

}  // namespace octet::kernels
