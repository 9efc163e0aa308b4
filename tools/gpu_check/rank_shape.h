// One rank of a stage, in numbers: its part of each layer, and the work to time it with.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace octet::gpu_check {

struct RankShape {
  const char* name;
  int64_t num_layers;
  int64_t hidden_size;
  int64_t num_heads;  // of the rank, as all that follow
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t intermediate_size;
  int64_t vocab_size;                    // of the whole model
  std::vector<int64_t> sampled_batches;  // rows of logits
  std::vector<int64_t> decode_batches;
  std::vector<int64_t> decode_contexts;
  std::vector<int64_t> prefills;
  int64_t copy_bytes;  // of the copy that measures the device
  int64_t gemm_size;   // of the product, rows, columns and depth
  int repeats;         // of what is timed, at least

  // Parameters of the rank's part of a layer's matrices.
  int64_t layer_parameters() const {
    return hidden_size * ((2 * num_heads + 2 * num_kv_heads) * head_dim + 2 * intermediate_size);
  }
};

// "340b": Nemotron-4-340B with TP 8 and PP 2, 41.5 GB of matrices in bf16. "nano": the model of deploy/nano
// with TP 1, for emulated devices. Null for any other name.
const RankShape* rank_shape_named(std::string_view name);

}  // namespace octet::gpu_check
