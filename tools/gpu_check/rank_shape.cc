#include "tools/gpu_check/rank_shape.h"

namespace octet::gpu_check {

const RankShape* rank_shape_named(std::string_view name) {
  static const RankShape k340b = {.name = "340b",
                                  .num_layers = 48,
                                  .hidden_size = 18432,
                                  .num_heads = 12,
                                  .num_kv_heads = 1,
                                  .head_dim = 192,
                                  .intermediate_size = 9216,
                                  .vocab_size = 256000,
                                  .sampled_batches = {1, 64},
                                  .decode_batches = {1, 8, 64, 256},
                                  .decode_contexts = {512, 4000},
                                  .prefills = {512, 4096},
                                  .copy_bytes = int64_t{2} << 30,
                                  .gemm_size = 8192,
                                  .repeats = 10};
  static const RankShape kNano = {.name = "nano",
                                  .num_layers = 2,
                                  .hidden_size = 128,
                                  .num_heads = 16,
                                  .num_kv_heads = 8,
                                  .head_dim = 16,
                                  .intermediate_size = 512,
                                  .vocab_size = 1600,
                                  .sampled_batches = {2},
                                  .decode_batches = {1, 2},
                                  .decode_contexts = {20},
                                  .prefills = {8},
                                  .copy_bytes = 1 << 16,
                                  .gemm_size = 64,
                                  .repeats = 1};
  if (name == k340b.name) return &k340b;
  return name == kNano.name ? &kNano : nullptr;
}

}  // namespace octet::gpu_check
