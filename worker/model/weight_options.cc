#include "worker/model/weight_options.h"

namespace octet::worker {

std::optional<kernels::DType> kv_cache_type_named(std::string_view name) {
  if (name == "bf16") return kernels::DType::kBFloat16;
  if (name == "fp32") return kernels::DType::kFloat32;
  return std::nullopt;
}

WeightOptions weight_options_named(std::string_view weights, std::string_view activations) {
  WeightOptions options;
  for (const auto format :
       {kernels::WeightFormat::kBFloat16, kernels::WeightFormat::kInt8, kernels::WeightFormat::kFloat8}) {
    if (weights == name_of(format)) options.format = format;
  }
  if (activations == "fp32") options.activations = ActivationType::kFloat32;
  return options;
}

}  // namespace octet::worker
