// Random tensors on the device, whose values the host knows as well.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <random>
#include <vector>

#include "kernels/backend.h"

namespace octet::gpu_check {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  float uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(engine_); }
  int32_t integer(int32_t low, int32_t high) {  // both included
    return std::uniform_int_distribution<int32_t>(low, high)(engine_);
  }

 private:
  std::mt19937_64 engine_;
};

// A tensor of fp32 or bf16 on the device. The host's values are those of the device: rounded to its type.
class DeviceTensor {
 public:
  // Of these values, or of NaN: what an op has to overwrite.
  DeviceTensor(kernels::Backend& rank, kernels::DType type, std::initializer_list<int64_t> sizes,
               std::vector<float> values);
  static DeviceTensor random(kernels::Backend& rank, Random& random, kernels::DType type,
                             std::initializer_list<int64_t> sizes, float low = -1, float high = 1);
  static DeviceTensor poisoned(kernels::Backend& rank, kernels::DType type,
                               std::initializer_list<int64_t> sizes);

  const kernels::Tensor& tensor() const { return tensor_; }
  const std::vector<float>& values() const { return values_; }
  double at(int64_t i) const { return static_cast<double>(values_[static_cast<size_t>(i)]); }

  // The device's values now.
  std::vector<float> download() const;

 private:
  kernels::Backend& rank_;
  std::vector<float> values_;
  std::unique_ptr<kernels::Buffer> buffer_;
  kernels::Tensor tensor_;
};

}  // namespace octet::gpu_check
