#include "worker/model/weight_options.h"

namespace octet::worker {

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
