#include "worker/model/weights.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace octet::worker {
namespace {

using kernels::DType;
using kernels::Tensor;

// Looks tensors up and cuts one rank's part out. It keeps the first error and goes on with empty tensors, so
// that the caller asks once at the end.
class TensorFinder {
 public:
  TensorFinder(const Checkpoint& checkpoint, int rank, int num_ranks)
      : checkpoint_(checkpoint), rank_(rank), num_ranks_(num_ranks) {}

  const absl::Status& status() const { return status_; }
  int64_t num_bytes() const { return num_bytes_; }

  NormWeights norm(const std::string& name, int64_t hidden_size) {
    return {vector(absl::StrCat(name, ".weight"), hidden_size),
            vector(absl::StrCat(name, ".bias"), hidden_size)};
  }

  // This rank's part of the rows, when they are cut into num_parts; several ranks share one where there are
  // fewer parts than ranks.
  Tensor rows(const std::string& name, int64_t num_rows, int64_t num_columns, int64_t num_parts) {
    const Found found = find(name, {num_rows, num_columns});
    if (found.data == nullptr) return {};
    const int64_t part_rows = num_rows / num_parts;
    const int64_t first = rank_ * num_parts / num_ranks_ * part_rows;
    return Tensor(found.data, found.dtype, {num_rows, num_columns}).rows(first, part_rows);
  }
  Tensor rows(const std::string& name, int64_t num_rows, int64_t num_columns) {
    return rows(name, num_rows, num_columns, num_ranks_);
  }

  // This rank's part of the columns.
  Tensor columns(const std::string& name, int64_t num_rows, int64_t num_columns) {
    const Found found = find(name, {num_rows, num_columns});
    if (found.data == nullptr) return {};
    const int64_t part_columns = num_columns / num_ranks_;
    char* first = static_cast<char*>(found.data) + rank_ * part_columns * size_of(found.dtype);
    return Tensor::matrix(first, found.dtype, num_rows, part_columns, num_columns);
  }

 private:
  struct Found {
    void* data = nullptr;
    DType dtype = DType::kBFloat16;
  };

  Tensor vector(const std::string& name, int64_t size) {
    const Found found = find(name, {size});
    return found.data == nullptr ? Tensor() : Tensor(found.data, found.dtype, {size});
  }

  Found find(const std::string& name, const std::vector<int64_t>& shape) {
    const auto entry = checkpoint_.tensor(name, shape);
    if (!entry.ok()) {
      if (status_.ok()) status_ = entry.status();
      return {};
    }
    num_bytes_ += entry->num_bytes;
    // Tensor has no read-only form; the mapping is read-only and no op writes to a weight.
    return {const_cast<void*>(entry->data), entry->dtype == "BF16" ? DType::kBFloat16 : DType::kFloat32};
  }

  const Checkpoint& checkpoint_;
  int64_t rank_;
  int64_t num_ranks_;
  int64_t num_bytes_ = 0;
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
    weights.embedding = finder.rows("model.embed_tokens.weight", config.vocab_size, config.hidden_size);
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

absl::StatusOr<RankWeights> find_rank_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                                              LayerRange layers, int rank, int num_ranks) {
  TensorFinder finder(checkpoint, rank, num_ranks);
  RankWeights weights = find_all(finder, config, layers, num_ranks);
  if (!finder.status().ok()) return finder.status();
  return weights;
}

absl::StatusOr<int64_t> stage_weight_bytes(const Checkpoint& checkpoint, const ModelConfig& config,
                                           LayerRange layers) {
  TensorFinder finder(checkpoint, 0, 1);
  find_all(finder, config, layers, 1);
  if (!finder.status().ok()) return finder.status();
  return finder.num_bytes();
}

}  // namespace octet::worker
