#include "worker/model/pack_weights.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/checkpoint/page_advice.h"

namespace octet::worker {
namespace {

using kernels::DType;
using kernels::PackedWeight;
using kernels::Tensor;
using kernels::WeightFormat;

// From the first element to the last, with what lies between the rows.
std::span<const std::byte> bytes_of(const Tensor& tensor) {
  if (tensor.num_elements() == 0) return {};
  const int64_t num_rows = tensor.rank() == 1 ? 1 : tensor.size(0);
  const int64_t row = tensor.size(tensor.rank() - 1);
  const int64_t num_elements = (num_rows - 1) * tensor.row_stride() + row;
  return {tensor.data<const std::byte>(), static_cast<size_t>(num_elements * size_of(tensor.dtype()))};
}

// What a matrix of this type is packed as; nothing: it stays in place.
std::optional<WeightFormat> packed_format(DType stored, const WeightOptions& options) {
  if (options.activations == ActivationType::kFloat32) return std::nullopt;
  const bool as_floats = !options.format || *options.format == WeightFormat::kBFloat16;
  if (stored == DType::kFloat32 && as_floats) return std::nullopt;
  if (options.format) return options.format;
  return stored == DType::kFloat8E4M3 ? WeightFormat::kFloat8 : WeightFormat::kBFloat16;
}

absl::StatusOr<LinearWeight> pack(const StoredMatrix& matrix, WeightFormat format, kernels::Backend& backend,
                                  const PackObserver& observe) {
  const std::span<const std::byte> stored = bytes_of(matrix.values);
  read_ahead(stored);
  std::optional<PackedWeight> packed = backend.pack(format, matrix.values, matrix.scales);
  drop_pages(stored);
  if (!packed) {
    return absl::ResourceExhaustedError(absl::StrCat(matrix.file, ": tensor \"", matrix.name,
                                                     "\": no memory to pack it as ", name_of(format)));
  }
  observe(matrix, *packed);
  return LinearWeight(*std::move(packed));
}

}  // namespace

absl::StatusOr<WeightPlan> plan_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                                        LayerRange layers, const WeightOptions& options) {
  WeightPlan plan;
  const auto stays = [&](const Tensor& tensor) {
    plan.in_place.push_back(bytes_of(tensor));
    plan.in_place_bytes += static_cast<int64_t>(plan.in_place.back().size());
  };
  const auto count = [&](const StoredMatrix& matrix) -> absl::StatusOr<LinearWeight> {
    if (!packed_format(matrix.values.dtype(), options)) {
      stays(matrix.values);
      return keep_in_place(matrix);
    }
    ++plan.num_packed;
    plan.packed_bytes += static_cast<int64_t>(bytes_of(matrix.values).size());
    return LinearWeight(matrix.values);
  };
  const auto whole = find_rank_weights(checkpoint, config, layers, 0, 1, count, stays);
  if (!whole.ok()) return whole.status();
  return plan;
}

absl::StatusOr<int64_t> device_weight_bytes(const Checkpoint& checkpoint, const ModelConfig& config,
                                            LayerRange layers, const WeightOptions& options,
                                            const kernels::Backend& backend) {
  int64_t num_bytes = 0;
  const auto stays = [&](const Tensor& tensor) {
    num_bytes += tensor.num_elements() * size_of(tensor.dtype());
  };
  const auto count = [&](const StoredMatrix& matrix) -> absl::StatusOr<LinearWeight> {
    const std::optional<WeightFormat> format = packed_format(matrix.values.dtype(), options);
    if (!format) {
      stays(matrix.values);
      return keep_in_place(matrix);
    }
    num_bytes += backend.packed_bytes(*format, matrix.values.size(0), matrix.values.size(1));
    return LinearWeight(matrix.values);
  };
  const auto found =
      find_rank_weights(checkpoint, config, layers, backend.rank(), backend.num_ranks(), count, stays);
  if (!found.ok()) return found.status();
  return num_bytes;
}

absl::StatusOr<RankWeights> load_rank_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                                              LayerRange layers, const WeightOptions& options,
                                              kernels::Backend& backend, const PackObserver& observe) {
  const auto convert = [&](const StoredMatrix& matrix) -> absl::StatusOr<LinearWeight> {
    const std::optional<WeightFormat> format = packed_format(matrix.values.dtype(), options);
    return format ? pack(matrix, *format, backend, observe) : keep_in_place(matrix);
  };
  return find_rank_weights(checkpoint, config, layers, backend.rank(), backend.num_ranks(), convert);
}

}  // namespace octet::worker
