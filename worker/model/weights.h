// The tensors that one rank of one stage computes with: views into the mapped checkpoint, nothing is copied.
// Only what the stage holds is looked up.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/model/model_config.h"

namespace octet::worker {

// Weight and bias of a LayerNorm1P, whole on every rank.
struct NormWeights {
  kernels::Tensor weight;  // [hidden_size]
  kernels::Tensor bias;    // [hidden_size]
};

// Rank r of t holds the r-th of t equal parts of heads, FFN columns and vocabulary. With more ranks than KV
// heads, the ranks whose query heads share a KV head each hold it.
struct LayerWeights {
  NormWeights attention_norm;
  kernels::Tensor query;   // [num_heads / t * head_dim, hidden_size], rows of the whole
  kernels::Tensor key;     // [max(num_kv_heads / t, 1) * head_dim, hidden_size], rows of the whole
  kernels::Tensor value;   // the same
  kernels::Tensor output;  // [hidden_size, num_heads / t * head_dim], columns of the whole
  NormWeights mlp_norm;
  kernels::Tensor up;    // [intermediate_size / t, hidden_size], rows of the whole
  kernels::Tensor down;  // [hidden_size, intermediate_size / t], columns of the whole
};

// The last stage's end of the model.
struct HeadWeights {
  NormWeights norm;
  kernels::Tensor lm_head;  // [vocab_size / t, hidden_size], rows of the whole
};

struct RankWeights {
  std::optional<kernels::Tensor>
      embedding;                     // [vocab_size / t, hidden_size], rows of the whole; on the first stage
  std::vector<LayerWeights> layers;  // of the stage
  std::optional<HeadWeights> head;   // on the last stage
};

// Errors name file and tensor: NOT_FOUND, INVALID_ARGUMENT (see Checkpoint::tensor). check_tensor_parallel()
// must have passed. The checkpoint must outlive the result.
absl::StatusOr<RankWeights> find_rank_weights(const Checkpoint& checkpoint, const ModelConfig& config,
                                              LayerRange layers, int rank, int num_ranks);

// Bytes of the checkpoint that all ranks of the stage use together, what several hold counted once.
absl::StatusOr<int64_t> stage_weight_bytes(const Checkpoint& checkpoint, const ModelConfig& config,
                                           LayerRange layers);

}  // namespace octet::worker
