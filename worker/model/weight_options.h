// How a stage holds its matrices and what it multiplies them with: --weights and --activations.
#pragma once

#include <optional>
#include <string_view>

#include "kernels/packed_weight.h"
#include "kernels/tensor.h"

namespace octet::worker {

// The type that a linear layer reads its input as. Its sums are fp32 either way.
enum class ActivationType {
  kBFloat16,  // or int8 with int8 weights; weights are packed
  kFloat32,   // weights are used in place in the checkpoint, which must be bf16 or fp32
};

struct WeightOptions {
  // Nothing: as the checkpoint stores each matrix, bf16 or fp8. One that it stores in fp32 stays in place and
  // is multiplied with fp32 activations, unless this is int8 or fp8.
  std::optional<kernels::WeightFormat> format = std::nullopt;
  ActivationType activations = ActivationType::kBFloat16;
};

// What --kv-cache-dtype says: bf16 or fp32; nothing for any other word.
std::optional<kernels::DType> kv_cache_type_named(std::string_view name);

// By the words of the flags: --weights bf16, int8 or fp8, any other is the checkpoint's own; --activations
// fp32, any other is bf16.
WeightOptions weight_options_named(std::string_view weights, std::string_view activations);

}  // namespace octet::worker
