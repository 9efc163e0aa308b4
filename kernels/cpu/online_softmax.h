// The softmax of one query over keys that come in blocks, for both paged_attention kernels: what it has so
// far is scaled whenever a larger score comes. Blocks are counted from position 0, so that the rescaling, and
// with it a row's bits, do not depend on how a prompt is divided.
#pragma once

#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

constexpr int64_t kKeyBlock = 32;  // positions

struct QueryState {
  const float* query;  // [head_dim]
  float* sums;         // [head_dim rounded up to kLanes], of exp(score - maximum) * value
  float maximum;
  float denominator;  // sum of exp(score - maximum)
  int64_t num_keys;   // this query sees positions [0, num_keys)
};

// Sets states[q] to the tile's query q before its first key. sums: [queries of the tile, num_chunks *
// kLanes].
inline void start_queries(const AttentionArgs& args, const AttentionTile& tile, float* sums,
                          int64_t num_chunks, QueryState* states) {
  for (int64_t q = 0; q < tile.num_rows * tile.num_heads; ++q) {
    const int64_t row = tile.first_row + q / tile.num_heads;
    const int64_t head = tile.first_head + q % tile.num_heads;
    states[q] = {.query = args.query + (row * args.num_heads + head) * args.head_dim,
                 .sums = sums + q * num_chunks * kLanes,
                 .maximum = -__builtin_inff(),
                 .denominator = 0.0f,
                 .num_keys = tile.start_position + q / tile.num_heads + 1};
    for (int64_t c = 0; c < num_chunks; ++c) store(states[q].sums + c * kLanes, zeros());
  }
}

// Where the key, and as far into the cache the value, of a position lies: the first of its head_dim elements.
inline int64_t offset_in_cache(const AttentionArgs& args, const AttentionTile& tile, int64_t position) {
  const int64_t kv_head = tile.first_head / (args.num_heads / args.num_kv_heads);
  const int64_t slot =
      tile.block_table[position / args.block_size] * args.block_size + position % args.block_size;
  return (slot * args.num_kv_heads + kv_head) * args.head_dim;
}

// Turns a query's scores of a block, of which count are its own, into weights relative to the new maximum (0
// from count on), and scales what it has so far.
inline void update_softmax(QueryState& state, float* scores, int64_t count, float scale, int64_t num_chunks) {
  for (int64_t j = count; j < kKeyBlock; ++j) scores[j] = -__builtin_inff();
  const F32x16 scales = broadcast(scale);
  F32x16 largest = broadcast(-__builtin_inff());
  for (int64_t j = 0; j < kKeyBlock; j += kLanes) {
    const F32x16 scaled = load(scores + j) * scales;
    store(scores + j, scaled);
    largest = maximum(largest, scaled);
  }
  const float block_maximum = reduce_maximum(largest);
  const float new_maximum = block_maximum > state.maximum ? block_maximum : state.maximum;
  const F32x16 maxima = broadcast(new_maximum);
  F32x16 sum = zeros();
  for (int64_t j = 0; j < kKeyBlock; j += kLanes) {
    const F32x16 weights = exponential_of_nonpositive(load(scores + j) - maxima);
    store(scores + j, weights);
    sum = sum + weights;
  }
  const F32x16 correction = exponential_of_nonpositive(broadcast(state.maximum) - maxima);
  for (int64_t c = 0; c < num_chunks; ++c) {
    store(state.sums + c * kLanes, load(state.sums + c * kLanes) * correction);
  }
  float corrections[kLanes];
  store(corrections, correction);
  state.denominator = state.denominator * corrections[0] + reduce_add(sum);
  state.maximum = new_maximum;
}

inline void write_output(const AttentionArgs& args, const QueryState& state) {
  float* const output = args.output + (state.query - args.query);
  const F32x16 denominator = broadcast(state.denominator);
  int64_t d = 0;
  for (; d + kLanes <= args.head_dim; d += kLanes) store(output + d, load(state.sums + d) / denominator);
  if (d < args.head_dim) store_first(output + d, load(state.sums + d) / denominator, args.head_dim - d);
}

inline int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
