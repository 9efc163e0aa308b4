#include "worker/process.h"

#include <random>

#include "absl/strings/str_cat.h"

namespace octet::worker {

StageDescription describe(const WorkerConfig& config, const StageShape& shape) {
  StageDescription description;
  description.stage = config.stage;
  description.num_stages = config.num_stages;
  description.num_ranks = config.num_ranks;
  description.layers = shape.layers;
  description.num_blocks = shape.num_blocks;
  description.block_size = config.block_size;
  description.max_batch_tokens = config.max_batch_tokens;
  description.model_digest = shape.model.digest();
  description.backend = config.backend;
  description.arithmetic =
      absl::StrCat("--weights ", config.weights, " --activations ", config.activations, " --kv-cache-dtype ",
                   config.kv_cache_dtype, config.deterministic ? " --deterministic" : "");
  std::random_device random;
  description.incarnation = (uint64_t{random()} << 32) | random();
  return description;
}

WireLimits wire_limits(const WorkerConfig& config, const StageShape& shape) {
  WireLimits limits;
  limits.vocab_size = static_cast<uint32_t>(shape.model.vocab_size);
  limits.max_model_len = static_cast<uint32_t>(shape.model.max_model_len);
  limits.max_batch_tokens = config.max_batch_tokens;
  limits.num_blocks = shape.num_blocks;
  limits.block_size = config.block_size;
  return limits;
}

}  // namespace octet::worker
