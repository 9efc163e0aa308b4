#include "worker/model/weights.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace octet::worker {
namespace {

using kernels::DType;
using kernels::Tensor;

DType dtype_of(const TensorEntry& entry) {
  if (entry.dtype == "F8_E4M3") return DType::kFloat8E4M3;
  return entry.dtype == "BF16" ? DType::kBFloat16 : DType::kFloat32;
}

// Tensor has no read-only form; the mapping is read-only and no op writes to a weight.
void* data_of(const TensorEntry& entry) {
  return const_cast<void*>(entry.data);
}

// Looks tensors up and cuts one rank's part out. It keeps the first error and goes on with empty tensors, so
// that the caller asks once at the end.
class TensorFinder {
 public:
  TensorFinder(const Checkpoint& checkpoint, int rank, int num_ranks, const MatrixConverter& convert,
               const TensorObserver& observe)
      : checkpoint_(checkpoint), rank_(rank), num_ranks_(num_ranks), convert_(convert), observe_(observe) {}

  const absl::Status& status() const { return status_; }

  NormWeights norm(const std::string& name, int64_t hidden_size) {
    return {vector(absl::StrCat(name, ".weight"), hidden_size),
            vector(absl::StrCat(name, ".bias"), hidden_size)};
  }

  // This rank's rows of the embedding.
  Tensor embedding(const std::string& name, int64_t num_rows, int64_t num_columns) {
    const auto entry = keep(checkpoint_.tensor(name, {num_rows, num_columns}));
    if (!entry) return {};
    const int64_t part_rows = num_rows / num_ranks_;
    return seen(Tensor(data_of(*entry), dtype_of(*entry), {num_rows, num_columns})
                    .rows(rank_ * part_rows, part_rows));
  }

  // This rank's part of the rows, when they are cut into num_parts; several ranks share one where there are
  // fewer parts than ranks.
  LinearWeight rows(const std::string& name, int64_t num_rows, int64_t num_columns, int64_t num_parts) {
    const auto entry = matrix(name, num_rows, num_columns);
    if (!entry) return {};
    const int64_t part_rows = num_rows / num_parts;
    const int64_t first = rank_ * num_parts / num_ranks_ * part_rows;
    Tensor scales = scales_of(*entry, name, num_rows);
    if (scales.rank() == 1 && scales.size(0) > 1) scales = scales.rows(first, part_rows);
    const Tensor whole(data_of(*entry), dtype_of(*entry), {num_rows, num_columns});
    return converted({whole.rows(first, part_rows), scales, entry->file, name});
  }
  LinearWeight rows(const std::string& name, int64_t num_rows, int64_t num_columns) {
    return rows(name, num_rows, num_columns, num_ranks_);
  }

  // This rank's part of the columns.
  LinearWeight columns(const std::string& name, int64_t num_rows, int64_t num_columns) {
    const auto entry = matrix(name, num_rows, num_columns);
    if (!entry) return {};
    const int64_t part_columns = num_columns / num_ranks_;
    const DType dtype = dtype_of(*entry);
    char* first = static_cast<char*>(data_of(*entry)) + rank_ * part_columns * size_of(dtype);
    return converted({Tensor::matrix(first, dtype, num_rows, part_columns, num_columns),
                      scales_of(*entry, name, num_rows), entry->file, name});
  }

 private:
  Tensor vector(const std::string& name, int64_t size) {
    const auto entry = keep(checkpoint_.tensor(name, {size}));
    return entry ? seen(Tensor(data_of(*entry), dtype_of(*entry), {size})) : Tensor();
  }

  std::optional<TensorEntry> matrix(const std::string& name, int64_t num_rows, int64_t num_columns) {
    return keep(checkpoint_.tensor(name, {{num_rows, num_columns}}, {"BF16", "F32", "F8_E4M3"}));
  }

  // The scales of an fp8 matrix's rows, or the one of all of them; an empty tensor for another matrix.
  Tensor scales_of(const TensorEntry& matrix, const std::string& name, int64_t num_rows) {
    if (matrix.dtype != "F8_E4M3") return {};
    const auto entry = keep(checkpoint_.tensor(absl::StrCat(name, "_scale"), {{}, {1}, {num_rows}}, {"F32"}));
    if (!entry) return {};
    return Tensor(data_of(*entry), DType::kFloat32, {entry->shape.empty() ? 1 : entry->shape[0]});
  }

  // Nothing is converted after an error: it may be long work, or the same want of memory.
  LinearWeight converted(const StoredMatrix& matrix) {
    if (!status_.ok()) return {};
    return keep(convert_(matrix)).value_or(LinearWeight());
  }

  template <typename T>
  std::optional<T> keep(absl::StatusOr<T> found) {
    if (found.ok()) return *std::move(found);
    if (status_.ok()) status_ = found.status();
    return std::nullopt;
  }

  Tensor seen(const Tensor& tensor) const {
    if (observe_) observe_(tensor);
    return tensor;
  }

  const Checkpoint& checkpoint_;
  const int64_t rank_;
  const int64_t num_ranks_;
  const MatrixConverter& convert_;
  const TensorObserver& observe_;
  absl::Status status_;
};

LayerWeights find_layer(TensorFinder& finder, const ModelConfig& config, int32_t layer, int num_ranks) {
  const int64_t hidden = config.hidden_size;
  const int64_t query_size = int64_t{config.num_heads} * config.head_dim;
  const int64_t kv_size = int64_t{config.num_kv_heads} * config.head_dim;
  const int64_t kv_parts = std::min(config.num_kv_heads, num_ranks);
  const std::string prefix = absl::StrCat("model.layers.", layer, ".");
  const std::string attention = absl::StrCat(prefix, "self_attn.");
  LayerWeights weights;
  weights.attention_norm = finder.norm(absl::StrCat(prefix, "input_layernorm"), hidden);
  weights.query = finder.rows(absl::StrCat(attention, "q_proj.weight"), query_size, hidden);
  weights.key = finder.rows(absl::StrCat(attention, "k_proj.weight"), kv_size, hidden, kv_parts);
  weights.value = finder.rows(absl::StrCat(attention, "v_proj.weight"), kv_size, hidden, kv_parts);
  weights.output = finder.columns(absl::StrCat(attention, "o_proj.weight"), hidden, query_size);
  weights.mlp_norm = finder.norm(absl::StrCat(prefix, "post_attention_layernorm"), hidden);
  weights.up = finder.rows(absl::StrCat(prefix, "mlp.up_proj.weight"), config.intermediate_size, hidden);
  weights.down =
      finder.columns(absl::StrCat(prefix, "mlp.down_proj.weight"), hidden, config.intermediate_size);
  return weights;
}

RankWeights find_all(TensorFinder& finder, const ModelConfig& config, LayerRange layers, int num_ranks) {
  RankWeights weights;
  if (layers.first == 0) {
    weights.embedding = finder.embedding("model.embed_tokens.weight", config.vocab_size, config.hidden_size);
  }
  for (int32_t layer = layers.first; layer < layers.end; ++layer) {
    weights.layers.push_back(find_layer(finder, config, layer, num_ranks));
  }
  if (layers.end == config.num_layers) {
    weights.head = HeadWeights{finder.norm("model.norm", config.hidden_size),
                               finder.rows("lm_head.weight", config.vocab_size, config.hidden_size)};
  }
  return weights;
}

}  // namespace

int64_t num_outputs(const LinearWeight& weight) {
  const auto* packed = std::get_if<kernels::PackedWeight>(&weight);
  return packed != nullptr ? packed->num_columns : std::get<Tensor>(weight).size(0);
}

absl::StatusOr<RankWeights> find_rank_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                                              LayerRange layers, int rank, int num_ranks,
                                              const MatrixConverter& convert, const TensorObserver& observe) {
  TensorFinder finder(checkpoint, rank, num_ranks, convert, observe);
  RankWeights weights = find_all(finder, config, layers, num_ranks);
  if (!finder.status().ok()) return finder.status();
  return weights;
}

absl::StatusOr<RankWeights> find_rank_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                                              LayerRange layers, int rank, int num_ranks) {
  return find_rank_weights(checkpoint, config, layers, rank, num_ranks, keep_in_place);
}

absl::StatusOr<LinearWeight> keep_in_place(const StoredMatrix& matrix) {
  if (matrix.values.dtype() == DType::kFloat8E4M3) {
    return absl::InvalidArgumentError(absl::StrCat(matrix.file, ": tensor \"", matrix.name,
                                                   "\": has dtype F8_E4M3, which --activations fp32 cannot "
                                                   "use; expected BF16 or F32"));
  }
  return LinearWeight(matrix.values);
}

}  // namespace octet::worker
