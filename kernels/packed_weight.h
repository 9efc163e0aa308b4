// A weight matrix in the layout that a backend's linear() streams, made once at load by Backend::pack().
#pragma once

#include <cstdint>
#include <memory>

namespace octet::kernels {

class Buffer;

// What a packed weight's elements are. The activations are rounded to match: see Backend::linear().
enum class WeightFormat {
  kBFloat16,
  kInt8,    // groups of 32 elements of a column share a scale
  kFloat8,  // E4M3, one fp32 scale a column
};

constexpr const char* name_of(WeightFormat format) {
  switch (format) {
    case WeightFormat::kBFloat16:
      return "bf16";
    case WeightFormat::kInt8:
      return "int8";
    case WeightFormat::kFloat8:
      return "fp8";
  }
  return "";
}

// The matrix [num_columns, depth] of a Tensor weight: column n makes output n. Copies share the storage. How
// the storage is laid out is the backend's own matter.
struct PackedWeight {
  WeightFormat format = WeightFormat::kBFloat16;
  int64_t num_columns = 0;
  int64_t depth = 0;
  int64_t num_bytes = 0;  // of the storage
  std::shared_ptr<Buffer> storage;
};

}  // namespace octet::kernels
