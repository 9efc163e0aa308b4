#include "kernels/rotary_table.h"

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

namespace octet::kernels {

RotaryTable make_rotary_table(Backend& backend, int64_t max_positions, int64_t rotary_dim, float theta) {
  OCTET_CHECK(max_positions > 0, max_positions);
  OCTET_CHECK(rotary_dim > 0 && rotary_dim % 2 == 0, rotary_dim);
  const int64_t half = rotary_dim / 2;
  const int64_t num_bytes = 2 * max_positions * half * static_cast<int64_t>(sizeof(float));
  std::shared_ptr<Buffer> storage = backend.allocate(num_bytes);
  if (storage == nullptr) return {};
  std::vector<float> angles(static_cast<size_t>(2 * max_positions * half));
  float* const cosines = angles.data();                 // [max_positions, half]
  float* const sines = cosines + max_positions * half;  // [max_positions, half]
  for (int64_t i = 0; i < half; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dim);
    // Through double, so that the result does not hang on the C library's fp32 functions.
    const float power =
        static_cast<float>(std::pow(static_cast<double>(theta), static_cast<double>(exponent)));
    const float frequency = 1.0f / power;
    for (int64_t position = 0; position < max_positions; ++position) {
      const double angle = static_cast<double>(static_cast<float>(position) * frequency);
      cosines[position * half + i] = static_cast<float>(std::cos(angle));
      sines[position * half + i] = static_cast<float>(std::sin(angle));
    }
  }
  backend.upload(storage->data(), angles.data(), num_bytes);
  RotaryTable table;
  float* const stored = static_cast<float*>(storage->data());
  table.cosines = Tensor(stored, DType::kFloat32, {max_positions, half});
  table.sines = Tensor(stored + max_positions * half, DType::kFloat32, {max_positions, half});
  table.storage = std::move(storage);
  return table;
}

}  // namespace octet::kernels
