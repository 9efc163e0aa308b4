// Causal attention over a paged KV cache in fp32, for prefill chunks and decodes alike.
//
//   output[t, h] = softmax_j(query[t, h] . keys[j, g] / sqrt(head_dim)) . values[j, g],  j <= position of t,
//   g = h / (num_heads / num_kv_heads)
//
// Shapes     output, query [num_tokens, num_heads, head_dim] fp32; keys, values [num_blocks, block_size,
//            num_kv_heads, head_dim] fp32, found through the sequence's block table.
// Requires   block ids inside the cache (Backend::paged_attention checks them).
// Mapping    a thread takes a contiguous part of the tiles (AttentionTile): up to 32 queries that share keys
//            and values. For each tile it walks over the keys in blocks of 32 positions, counted from
//            position 0, with an online softmax; a block of head_dim 192 (48 KB) stays in L2.
// Precision  fp32. A score is dot_block()'s sum, a block's weights are added in simd.h's order, values are
//            added in order of position. So a row's bits depend on its query, its position and the keys and
//            values up to it; not on the tile, the chunk or the size of the cache's blocks.
// Cost       8 * (position + 1) * head_dim bytes of cache for each row and KV head; decode is memory bound.
// Checked by tests/kernels/paged_attention_test.cc.
#include "kernels/cpu/dot_block.h"
#include "kernels/cpu/online_softmax.h"
#include "kernels/cpu/op_kernels.h"
#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

constexpr int kKeyColumns = 4;    // keys in one dot_block()
constexpr int kChunksAtOnce = 4;  // of kLanes dimensions of the values

// Keys and values of one KV head at the positions of one block.
struct KeyBlock {
  const float* keys[kKeyBlock];    // each [head_dim]
  const float* values[kKeyBlock];  // each [head_dim]
};

void find_keys(const AttentionArgs& args, const AttentionTile& tile, int64_t first_position, int64_t count,
               KeyBlock& block) {
  for (int64_t j = 0; j < count; ++j) {
    const int64_t offset = offset_in_cache(args, tile, first_position + j);
    block.keys[j] = static_cast<const float*>(args.keys) + offset;
    block.values[j] = static_cast<const float*>(args.values) + offset;
  }
}

// scores[q][j] = query q . key j, for kQueries queries and count keys.
template <int kQueries>
void score(const QueryState* states, const KeyBlock& block, int64_t count, int64_t head_dim,
           float (*scores)[kKeyBlock]) {
  const float* queries[kQueries];
  for (int q = 0; q < kQueries; ++q) queries[q] = states[q].query;
  int64_t j = 0;
  for (; j + kKeyColumns <= count; j += kKeyColumns) {
    dot_block<kQueries, kKeyColumns>(queries, block.keys + j, head_dim, &scores[0][j], kKeyBlock);
  }
  for (; j < count; ++j) dot_block<kQueries, 1>(queries, block.keys + j, head_dim, &scores[0][j], kKeyBlock);
}

void score_all(const QueryState* states, int64_t num_queries, const KeyBlock& block, int64_t count,
               int64_t head_dim, float (*scores)[kKeyBlock]) {
  int64_t q = 0;
  for (; q + kMaxBlockRows <= num_queries; q += kMaxBlockRows) {
    score<kMaxBlockRows>(states + q, block, count, head_dim, scores + q);
  }
  for (; q < num_queries; ++q) score<1>(states + q, block, count, head_dim, scores + q);
}

// sums[q] += sum_j weights[q][j] * values[j] in order of j, for kChunks chunks of dimensions from `first` on.
template <int kQueries, int kChunks>
void add_chunks(QueryState* states, const float (*weights)[kKeyBlock], const KeyBlock& block, int64_t count,
                int64_t first, int64_t last_lanes) {
  F32x16 sums[kQueries][kChunks];
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 8
    for (int c = 0; c < kChunks; ++c) sums[q][c] = load(states[q].sums + first + c * kLanes);
  }
  for (int64_t j = 0; j < count; ++j) {
    const float* const value = block.values[j] + first;
#pragma GCC unroll 8
    for (int c = 0; c < kChunks; ++c) {
      const F32x16 v = last_lanes == 0 ? load(value + c * kLanes) : load_first(value, last_lanes);
#pragma GCC unroll 8
      for (int q = 0; q < kQueries; ++q) sums[q][c] = multiply_add(broadcast(weights[q][j]), v, sums[q][c]);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 8
    for (int c = 0; c < kChunks; ++c) store(states[q].sums + first + c * kLanes, sums[q][c]);
  }
}

template <int kQueries>
void add_values(QueryState* states, const float (*weights)[kKeyBlock], const KeyBlock& block, int64_t count,
                int64_t head_dim) {
  int64_t d = 0;
  for (; d + kChunksAtOnce * kLanes <= head_dim; d += kChunksAtOnce * kLanes) {
    add_chunks<kQueries, kChunksAtOnce>(states, weights, block, count, d, 0);
  }
  for (; d + kLanes <= head_dim; d += kLanes) add_chunks<kQueries, 1>(states, weights, block, count, d, 0);
  if (d < head_dim) add_chunks<kQueries, 1>(states, weights, block, count, d, head_dim - d);
}

void attend_to_block(QueryState* states, int64_t num_queries, const KeyBlock& block, int64_t first_position,
                     const AttentionArgs& args, int64_t num_chunks) {
  float scores[kMaxTileQueries][kKeyBlock];
  // Queries are in order of their row, so the last one sees the most keys. A score past a query's own keys is
  // computed (its key is there: a later row of the chunk wrote it) and not used.
  const int64_t most = least(states[num_queries - 1].num_keys - first_position, kKeyBlock);
  score_all(states, num_queries, block, most, args.head_dim, scores);
  int64_t counts[kMaxTileQueries];
  for (int64_t q = 0; q < num_queries; ++q) {
    counts[q] = least(states[q].num_keys - first_position, kKeyBlock);
    if (counts[q] > 0) update_softmax(states[q], scores[q], counts[q], args.scale, num_chunks);
  }
  for (int64_t q = 0; q < num_queries;) {
    if (counts[q] <= 0) {
      ++q;
    } else if (q + 1 < num_queries && counts[q + 1] == counts[q]) {
      add_values<2>(states + q, scores + q, block, counts[q], args.head_dim);
      q += 2;
    } else {
      add_values<1>(states + q, scores + q, block, counts[q], args.head_dim);
      ++q;
    }
  }
}

void attend(const AttentionArgs& args, const AttentionTile& tile, float* sums) {
  const int64_t num_queries = tile.num_rows * tile.num_heads;
  const int64_t num_chunks = (args.head_dim + kLanes - 1) / kLanes;
  QueryState states[kMaxTileQueries];
  start_queries(args, tile, sums, num_chunks, states);
  const int64_t num_keys = tile.start_position + tile.num_rows;
  KeyBlock block;
  for (int64_t position = 0; position < num_keys; position += kKeyBlock) {
    find_keys(args, tile, position, least(num_keys - position, kKeyBlock), block);
    attend_to_block(states, num_queries, block, position, args, num_chunks);
  }
  for (int64_t q = 0; q < num_queries; ++q) write_output(args, states[q]);
}

}  // namespace

void paged_attention(const AttentionArgs& args, const AttentionTile* tiles, int64_t num_tiles,
                     char* scratch) {
  for (int64_t i = 0; i < num_tiles; ++i) attend(args, tiles[i], reinterpret_cast<float*>(scratch));
}

}  // namespace octet::kernels::OCTET_ISA
