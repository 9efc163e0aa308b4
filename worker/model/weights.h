// The tensors that one rank of one stage computes with, as views into the mapped checkpoint; the matrices may
// be converted on the way. Only what the stage holds is looked up.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/packed_weight.h"
#include "kernels/tensor.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/model/model_config.h"

namespace octet::worker {

// A matrix that linear() multiplies with: in place in the checkpoint, or packed in memory of its own.
using LinearWeight = std::variant<kernels::Tensor, kernels::PackedWeight>;

// Columns of the product, which are the matrix's rows.
int64_t num_outputs(const LinearWeight& weight);

// Weight and bias of a LayerNorm1P, whole on every rank.
struct NormWeights {
  kernels::Tensor weight;  // [hidden_size]
  kernels::Tensor bias;    // [hidden_size]
};

// Rank r of t holds the r-th of t equal parts of heads, FFN columns and vocabulary. With more ranks than KV
// heads, the ranks whose query heads share a KV head each hold it.
struct LayerWeights {
  NormWeights attention_norm;
  LinearWeight query;   // [num_heads / t * head_dim, hidden_size], rows of the whole
  LinearWeight key;     // [max(num_kv_heads / t, 1) * head_dim, hidden_size], rows of the whole
  LinearWeight value;   // the same
  LinearWeight output;  // [hidden_size, num_heads / t * head_dim], columns of the whole
  NormWeights mlp_norm;
  LinearWeight up;    // [intermediate_size / t, hidden_size], rows of the whole
  LinearWeight down;  // [hidden_size, intermediate_size / t], columns of the whole
};

// The last stage's end of the model.
struct HeadWeights {
  NormWeights norm;
  LinearWeight lm_head;  // [vocab_size / t, hidden_size], rows of the whole
};

struct RankWeights {
  std::vector<std::unique_ptr<kernels::Buffer>> storage;  // of tensors that do not view the checkpoint
  std::optional<kernels::Tensor>
      embedding;                     // [vocab_size / t, hidden_size], rows of the whole; on the first stage
  std::vector<LayerWeights> layers;  // of the stage
  std::optional<HeadWeights> head;   // on the last stage
};

// One rank's part of a matrix as the checkpoint has it.
struct StoredMatrix {
  kernels::Tensor values;  // bf16, fp32 or fp8; the rows of a column cut lie apart
  kernels::Tensor scales;  // [1] or [rows] fp32, which fp8 values are multiplied with; else empty
  std::string file;        // for error messages, as is:
  std::string name;        // of the checkpoint's tensor
};

// What a rank holds in the place of a matrix. Called once for each, in the order of the layers.
using MatrixConverter = std::function<absl::StatusOr<LinearWeight>(const StoredMatrix&)>;

// Called for each tensor that stays in place whatever becomes of the matrices: embedding and norms.
using TensorObserver = std::function<void(const kernels::Tensor&)>;

// Norms and embedding must be BF16 or F32; matrices may also be F8_E4M3 where X.weight has an X.weight_scale
// (F32, one or one a row). Errors name file and tensor: NOT_FOUND, INVALID_ARGUMENT (see Checkpoint::tensor),
// and the converter's own, after which nothing more is converted. check_tensor_parallel() must have passed.
// The checkpoint must outlive what views it.
absl::StatusOr<RankWeights> find_rank_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                                              LayerRange layers, int rank, int num_ranks,
                                              const MatrixConverter& convert,
                                              const TensorObserver& observe = nullptr);

// Every matrix in place. Also INVALID_ARGUMENT for F8_E4M3, which linear() cannot use so.
absl::StatusOr<RankWeights> find_rank_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                                              LayerRange layers, int rank, int num_ranks);

// A converter that keeps every matrix where it is. Errors: INVALID_ARGUMENT naming file and tensor for
// F8_E4M3.
absl::StatusOr<LinearWeight> keep_in_place(const StoredMatrix& matrix);

}  // namespace octet::worker
