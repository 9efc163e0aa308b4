// A rank with random weights and a random KV cache, which computes what a rank of a stage does between its
// all-reduces.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/backend.h"
#include "tools/gpu_check/rank_shape.h"

namespace octet::gpu_check {

class SyntheticRank {
 public:
  static constexpr int64_t kBlockSize = 16;

  // Nothing when the device has no memory for the weights and a sequence. Takes what is left for the KV
  // cache, as far as max_tokens need it.
  static std::optional<SyntheticRank> create(kernels::Backend& rank, const RankShape& shape,
                                             kernels::WeightFormat format, int64_t max_rows,
                                             int64_t max_tokens);

  int64_t max_tokens() const { return num_blocks_ * kBlockSize; }
  int64_t num_parameters() const;     // of the linear layers
  int64_t weight_bytes() const;       // of the same
  int64_t kv_bytes_of_token() const;  // over all layers

  // One step, until the device has been told of all of it.
  void decode(int64_t batch, int64_t context);  // context: tokens that each sees, its own included
  void decode_by_graph(int64_t batch, int64_t context);
  void prefill(int64_t num_rows);

  // Single ops on the rank's shapes, the first layer's.
  void norm(int64_t rows);
  void rotary(int64_t rows);
  void up_with_squared_relu(int64_t rows);
  void attend_decode(int64_t batch, int64_t context);
  void attend_prefill(int64_t num_rows);
  void sample(int64_t rows, const kernels::SampleRow& row);  // of the whole vocabulary, all rows alike

 private:
  struct Layer {
    kernels::PackedWeight query, key, value, output, up, down;
    kernels::KvLayer kv;
    std::vector<std::unique_ptr<kernels::Buffer>> storage;
  };
  // What a step is told, as a stage tells it.
  struct Input {
    std::vector<int32_t> positions;
    std::vector<int32_t> slots;
    std::vector<std::vector<int32_t>> tables;
    std::vector<kernels::AttentionChunk> chunks;
  };

  SyntheticRank(kernels::Backend& rank, const RankShape& shape, kernels::WeightFormat format)
      : rank_(&rank), shape_(&shape), format_(format) {}
  bool allocate(int64_t max_rows, int64_t max_tokens);
  kernels::PackedWeight random_weight(int64_t num_columns, int64_t depth);
  std::unique_ptr<kernels::Buffer> random_buffer(kernels::DType type, int64_t num_bytes);
  Input decodes(int64_t batch, int64_t context) const;
  Input chunk(int64_t num_rows) const;
  void run(const Input& input);
  kernels::Tensor activation(const std::unique_ptr<kernels::Buffer>& buffer, int64_t rows,
                             int64_t columns) const;
  kernels::Tensor heads(const std::unique_ptr<kernels::Buffer>& buffer, int64_t rows,
                        int64_t num_heads) const;

  kernels::Backend* rank_;
  const RankShape* shape_;
  kernels::WeightFormat format_;
  int64_t num_blocks_ = 0;
  std::vector<Layer> layers_;
  std::unique_ptr<kernels::Buffer> hidden_, normed_, query_, key_, value_, attention_, projected_, up_,
      norm_weight_, logits_;
  kernels::RotaryTable rotary_;
};

}  // namespace octet::gpu_check
