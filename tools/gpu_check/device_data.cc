#include "tools/gpu_check/device_data.h"

#include <bit>
#include <cmath>
#include <limits>

namespace octet::gpu_check {
namespace {

using kernels::DType;
using kernels::Tensor;

uint16_t to_bfloat16(float x) {
  if (std::isnan(x)) return 0x7fff;
  const auto bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
float from_bfloat16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

std::vector<char> encoded(DType type, const std::vector<float>& values) {
  std::vector<char> bytes(values.size() * static_cast<size_t>(size_of(type)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == DType::kBFloat16) {
      reinterpret_cast<uint16_t*>(bytes.data())[i] = to_bfloat16(values[i]);
    } else {
      reinterpret_cast<float*>(bytes.data())[i] = values[i];
    }
  }
  return bytes;
}

std::vector<float> decoded(DType type, const std::vector<char>& bytes) {
  std::vector<float> values(bytes.size() / static_cast<size_t>(size_of(type)));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = type == DType::kBFloat16 ? from_bfloat16(reinterpret_cast<const uint16_t*>(bytes.data())[i])
                                         : reinterpret_cast<const float*>(bytes.data())[i];
  }
  return values;
}

}  // namespace

DeviceTensor::DeviceTensor(kernels::Backend& rank, DType type, std::initializer_list<int64_t> sizes,
                           std::vector<float> values)
    : rank_(rank) {
  const std::vector<char> bytes = encoded(type, values);
  values_ = decoded(type, bytes);
  const auto num_bytes = static_cast<int64_t>(bytes.size());
  buffer_ = rank.allocate(num_bytes);
  OCTET_CHECK(buffer_ != nullptr, "no device memory for ", num_bytes, " bytes");
  if (num_bytes > 0) rank.upload(buffer_->data(), bytes.data(), num_bytes);
  tensor_ = Tensor(buffer_->data(), type, sizes);
}

DeviceTensor DeviceTensor::random(kernels::Backend& rank, Random& random, DType type,
                                  std::initializer_list<int64_t> sizes, float low, float high) {
  std::vector<float> values(static_cast<size_t>(Tensor(nullptr, type, sizes).num_elements()));
  for (float& x : values) x = random.uniform(low, high);
  return {rank, type, sizes, std::move(values)};
}

DeviceTensor DeviceTensor::poisoned(kernels::Backend& rank, DType type,
                                    std::initializer_list<int64_t> sizes) {
  const auto count = static_cast<size_t>(Tensor(nullptr, type, sizes).num_elements());
  return {rank, type, sizes, std::vector<float>(count, std::numeric_limits<float>::quiet_NaN())};
}

std::vector<float> DeviceTensor::download() const {
  std::vector<char> bytes(values_.size() * static_cast<size_t>(size_of(tensor_.dtype())));
  if (!bytes.empty()) rank_.download(bytes.data(), tensor_.data<void>(), static_cast<int64_t>(bytes.size()));
  return decoded(tensor_.dtype(), bytes);
}

}  // namespace octet::gpu_check
