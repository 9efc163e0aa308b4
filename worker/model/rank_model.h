// The forward pass of one rank over its stage's layers. It computes rows; which rows, and at which positions
// and slots, the stage says. Owns the rank's KV cache and activations, allocated once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "worker/model/model_config.h"
#include "worker/model/weights.h"

namespace octet::worker {

// What a micro-batch computes, row by row.
struct ModelInput {
  std::vector<int32_t> tokens;     // [T]
  std::vector<int32_t> positions;  // [T] in the row's sequence
  std::vector<int32_t> slots;      // [T] block * block_size + offset, where the row's key and value go
  std::vector<kernels::AttentionChunk> chunks;  // cover rows [0, T) in order
  std::vector<int32_t> logit_rows;              // rising; rows whose logits the last stage needs

  int64_t num_rows() const { return static_cast<int64_t>(tokens.size()); }
};

struct RankModelSizes {
  uint32_t block_size = 16;                                 // tokens in a block of the KV cache
  uint32_t num_blocks = 0;                                  // blocks of the KV cache
  kernels::DType kv_cache_type = kernels::DType::kFloat32;  // or bf16
  uint32_t max_batch_tokens = 512;                          // most rows of a micro-batch
};

class RankModel {
 public:
  // Bytes that one block of the KV cache takes on one rank.
  static int64_t kv_block_bytes(const ModelConfig& config, LayerRange layers, uint32_t block_size,
                                int num_ranks, kernels::DType kv_cache_type);

  // Bytes of what else a rank allocates: activations and the rotary embedding.
  static int64_t activation_bytes(const ModelConfig& config, const RankModelSizes& sizes, int num_ranks,
                                  bool has_head);

  // The backend is this rank's and must outlive the model, as must the checkpoint that the weights view.
  // Errors: RESOURCE_EXHAUSTED naming what there is no memory for.
  static absl::StatusOr<std::unique_ptr<RankModel>> create(kernels::Backend& backend,
                                                           const ModelConfig& config, RankWeights weights,
                                                           const RankModelSizes& sizes);

  // What this rank hands over of num_rows rows of the residual stream after forward(), and where it puts what
  // it gets of them before; [1, n] fp32 in the rank's memory. All ranks hold the same stream, so each hands
  // over its share, and forward() gathers the shares.
  kernels::Tensor outgoing(int64_t num_rows) const;
  kernels::Tensor incoming(int64_t num_rows) const;

  // Runs the layers; on the first stage the embedding before them. All ranks of the stage call it with the
  // same input.
  void forward(const ModelInput& input);

  // Receives logits of consecutive entries of logit_rows, [num_rows, vocab_size] fp32 in the backend's
  // memory, from the first of them on.
  using LogitsUser = std::function<void(int64_t first, kernels::Tensor logits)>;
  // On the last stage, after forward(): computes the logits of logit_rows in pieces of bounded size. All
  // ranks of the stage call it with the same input; each gets the logits of the whole vocabulary, or
  // none if its `use` is empty.
  void compute_logits(const ModelInput& input, const LogitsUser& use);

 private:
  // Memory that forward() and compute_logits() write, for the most rows they take at once.
  struct Activations {
    std::unique_ptr<kernels::Buffer> hidden;     // [T, hidden_size]
    std::unique_ptr<kernels::Buffer> normed;     // [T, hidden_size]
    std::unique_ptr<kernels::Buffer> query;      // [T, num_heads, head_dim], the rank's heads
    std::unique_ptr<kernels::Buffer> key;        // [T, num_kv_heads, head_dim], the rank's heads
    std::unique_ptr<kernels::Buffer> value;      // the same
    std::unique_ptr<kernels::Buffer> attention;  // as query
    std::unique_ptr<kernels::Buffer> projected;  // [T, hidden_size], what is added to the residual stream
    std::unique_ptr<kernels::Buffer> up;         // [T, intermediate_size / num_ranks]
    std::unique_ptr<kernels::Buffer> partial_logits;  // [kMaxLogitRows, vocab_size / num_ranks]
    std::unique_ptr<kernels::Buffer> logits;          // [kMaxLogitRows, vocab_size]
  };

  RankModel(kernels::Backend& backend, const ModelConfig& config, RankWeights weights,
            const RankModelSizes& sizes);
  absl::Status allocate();
  kernels::Tensor hidden(int64_t num_rows) const;  // the residual stream, [num_rows, hidden_size]
  int64_t share_size(int64_t num_rows) const;      // elements of it
  void run_layers(const ModelInput& input);
  void embed(const ModelInput& input);
  void gather_shares(int64_t num_rows);
  // Each computes what is added to the residual stream, into activations_.projected, from its norm in
  // activations_.normed.
  void attend(const LayerWeights& weights, const kernels::KvLayer& kv, const ModelInput& input);
  void feed_forward(const LayerWeights& weights, int64_t num_rows);
  void linear(kernels::Tensor output, kernels::Tensor input, const LinearWeight& weight,
              kernels::Epilogue epilogue = kernels::Epilogue::kNone);

  kernels::Backend& backend_;
  const ModelConfig config_;
  const RankWeights weights_;
  const RankModelSizes sizes_;
  const int64_t num_heads_;     // of this rank
  const int64_t num_kv_heads_;  // of this rank

  Activations activations_;
  std::vector<std::unique_ptr<kernels::Buffer>> kv_buffers_;
  std::vector<kernels::KvLayer> kv_;  // [layers of the stage]
  kernels::RotaryTable rotary_;
};

}  // namespace octet::worker
