// The elements of a test's KV cache, in fp32 or bf16.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "kernels/tensor.h"

namespace octet::kernels {

// The bits of the nearest bf16, ties to even; a NaN stays one.
uint16_t to_bfloat16(float value);

// The nearest value of a type, fp32 or bf16 (ties to even).
float rounded_to(DType dtype, float value);

class KvStorage {
 public:
  KvStorage(DType dtype, int64_t num_elements, float value);

  void set(int64_t i, float value);  // rounded
  float at(int64_t i) const;
  std::vector<float> elements(int64_t first, int64_t count) const;
  Tensor tensor(std::initializer_list<int64_t> sizes);

 private:
  DType dtype_;
  std::vector<char> bytes_;
};

}  // namespace octet::kernels
