#include "worker/model/device_weights.h"

#include <cstring>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"

namespace octet::worker {
namespace {

using kernels::Tensor;

class Mover {
 public:
  Mover(RankWeights& weights, kernels::Backend& backend) : weights_(weights), backend_(backend) {}

  // In their order, up to the first that fails.
  template <typename... Parts>
  absl::Status move_all(Parts&... parts) {
    absl::Status status;
    (void)((status = move(parts), status.ok()) && ...);
    return status;
  }

 private:
  absl::Status move(NormWeights& norm) { return move_all(norm.weight, norm.bias); }

  absl::Status move(LinearWeight& weight) {
    Tensor* const tensor = std::get_if<Tensor>(&weight);
    return tensor == nullptr ? absl::OkStatus() : move(*tensor);
  }

  absl::Status move(Tensor& tensor) {
    const int64_t num_bytes = tensor.num_elements() * size_of(tensor.dtype());
    std::unique_ptr<kernels::Buffer> buffer = backend_.allocate(num_bytes);
    if (buffer == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no device memory for a weight of ", num_bytes, " bytes"));
    }
    backend_.upload(buffer->data(), packed_rows(tensor), num_bytes);
    tensor = tensor.rank() == 1 ? Tensor(buffer->data(), tensor.dtype(), {tensor.size(0)})
                                : Tensor(buffer->data(), tensor.dtype(), {tensor.size(0), tensor.size(1)});
    weights_.storage.push_back(std::move(buffer));
    return absl::OkStatus();
  }

  // The tensor's rows side by side.
  const char* packed_rows(const Tensor& tensor) {
    const char* const rows = tensor.data<const char>();
    if (tensor.packed()) return rows;
    const auto row_bytes = static_cast<size_t>(tensor.size(1) * size_of(tensor.dtype()));
    const int64_t stride = tensor.row_stride() * size_of(tensor.dtype());
    packed_.resize(static_cast<size_t>(tensor.size(0)) * row_bytes);
    for (int64_t row = 0; row < tensor.size(0); ++row) {
      std::memcpy(packed_.data() + static_cast<size_t>(row) * row_bytes, rows + row * stride, row_bytes);
    }
    return packed_.data();
  }

  RankWeights& weights_;
  kernels::Backend& backend_;
  std::vector<char> packed_;
};

}  // namespace

absl::Status move_to_device(RankWeights& weights, kernels::Backend& backend) {
  if (backend.has_host_memory()) return absl::OkStatus();
  Mover mover(weights, backend);
  if (weights.embedding) {
    if (absl::Status status = mover.move_all(*weights.embedding); !status.ok()) return status;
  }
  for (LayerWeights& layer : weights.layers) {
    absl::Status status = mover.move_all(layer.attention_norm, layer.query, layer.key, layer.value,
                                         layer.output, layer.mlp_norm, layer.up, layer.down);
    if (!status.ok()) return status;
  }
  return weights.head ? mover.move_all(weights.head->norm, weights.head->lm_head) : absl::OkStatus();
}

}  // namespace octet::worker
