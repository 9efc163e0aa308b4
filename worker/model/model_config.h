// The sizes of a Nemotron model, from a checkpoint's config.json (nemotron.md sections 1.3 and 1.4).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace octet::worker {

struct ModelConfig {
  std::string name;  // how clients name the model: the folder's name unless a flag says otherwise
  int32_t vocab_size = 0;
  int32_t hidden_size = 0;
  int32_t intermediate_size = 0;
  int32_t num_layers = 0;
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;    // num_heads * head_dim may differ from hidden_size
  int32_t rotary_dim = 0;  // int(head_dim * partial_rotary_factor), even
  float rope_theta = 10000;
  float norm_epsilon = 1e-5f;
  int32_t max_model_len = 0;  // max_position_embeddings
  int32_t bos_token_id = 2;
  int32_t eos_token_id = 3;

  // Equal for equal models: a hash over all fields but the name.
  std::string digest() const;
};

// Reads and checks DIR/config.json. Errors name the file and the key: NOT_FOUND, INVALID_ARGUMENT (another
// architecture, biases, a value out of range).
absl::StatusOr<ModelConfig> read_model_config(const std::string& model_dir);
// The text of such a file; the name is left empty. Errors: INVALID_ARGUMENT, as above, with this path.
absl::StatusOr<ModelConfig> parse_model_config(const std::string& text, const std::string& path);

// Layers [first, end) of the model.
struct LayerRange {
  int32_t first = 0;
  int32_t end = 0;
  int32_t size() const { return end - first; }
};

// Splits the layers over stages so that the largest stage's bytes are least, counting the embedding on the
// first stage and the LM head on the last; or as layers_per_stage says, when it is not empty. Every stage
// gets at least one layer. Errors: INVALID_ARGUMENT naming --stages or --layers-per-stage.
absl::StatusOr<std::vector<LayerRange>> split_layers(const ModelConfig& config, int num_stages,
                                                     const std::vector<int>& layers_per_stage);

// INVALID_ARGUMENT naming --tp unless heads, FFN columns and vocabulary divide by it and it divides the KV
// heads or they it.
absl::Status check_tensor_parallel(const ModelConfig& config, int num_ranks);

}  // namespace octet::worker
