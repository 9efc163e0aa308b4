// Causal attention over a paged KV cache in bf16, for prefill chunks and decodes alike.
//
//   output[t, h] = softmax_j(round(query[t, h]) . keys[j, g] / sqrt(head_dim)) . values[j, g],
//   j <= position of t, g = h / (num_heads / num_kv_heads); the softmax's weights are rounded to bf16 where
//   they meet the values
//
// Shapes     output, query [num_tokens, num_heads, head_dim] fp32; keys, values [num_blocks, block_size,
//            num_kv_heads, head_dim] bf16, found through the sequence's block table.
// Requires   block ids inside the cache (Backend::paged_attention checks them).
// Mapping    a thread takes pieces of the tiles (AttentionTile): up to 32 queries that share keys and values.
//            For each tile it walks over the keys in blocks of 32 positions, counted from position 0. A
//            block's keys are transposed to panels of 16 and its values are paired by position, once for all
//            queries of the tile, so that sums stay in lanes as in packed_linear(); 24 KB with head_dim 192.
// Precision  packed_simd.h's pairs in fp32: a score adds its dimensions in order, an output its positions in
//            order, each in one chain; a query's last position has zero beside it where it starts a pair. So
//            a row's bits depend on its query, its position and the keys and values up to it; not on the
//            tile, the chunk or the size of the cache's blocks. Denominators add the weights before rounding.
// Cost       4 * (position + 1) * head_dim bytes of cache for each row and KV head: decode is memory bound;
//            4 * head_dim operations for each query and key.
// Checked by tests/kernels/paged_attention_test.cc.
#include "kernels/cpu/online_softmax.h"
#include "kernels/cpu/op_kernels.h"
#include "kernels/cpu/packed_simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

constexpr int64_t kPanelKeys = kLanes;
constexpr int64_t kPairBytes = kLanes * 4;            // sixteen pairs
constexpr int kMaxQueries = kMaxSums >= 16 ? 8 : 2;   // whose sums share the registers
constexpr int kMaxVectors = kMaxSums >= 16 ? 16 : 4;  // of sums in registers

// One block of 32 positions of a KV head, and the memory for it.
struct KeyBlock {
  char* keys;       // [2 panels][padded_dim / 2][16 keys] pairs of dimensions
  char* values;     // [16 pairs of positions][padded_dim] pairs
  char* last;       // [padded_dim] a pair of positions without its second
  uint16_t* rows;   // [kKeyBlock][padded_dim], where head_dim is not a multiple of 16
  uint16_t* zeros;  // [padded_dim]
};

// The tile's memory, cut from scratch; kAttentionScratchBytes a padded dimension.
struct Scratch {
  Scratch(char* memory, int64_t padded_dim) {
    const auto take = [&memory](int64_t num_bytes) {
      char* const taken = memory;
      memory += num_bytes;
      return taken;
    };
    sums = reinterpret_cast<float*>(take(kMaxTileQueries * padded_dim * 4));
    queries =
        reinterpret_cast<Pair*>(take(kMaxTileQueries * padded_dim / 2 * static_cast<int64_t>(sizeof(Pair))));
    block.keys = take(kKeyBlock * padded_dim * 2);
    block.values = take(kKeyBlock * padded_dim * 2);
    block.rows = reinterpret_cast<uint16_t*>(take(kKeyBlock * padded_dim * 2));
    block.last = take(padded_dim * 4);
    block.zeros = reinterpret_cast<uint16_t*>(take(padded_dim * 2));
    __builtin_memset(block.zeros, 0, static_cast<size_t>(padded_dim) * 2);
  }
  static_assert(kMaxTileQueries * (4 + static_cast<int64_t>(sizeof(Pair)) / 2) + kKeyBlock * 6 + 6 <=
                kAttentionScratchBytes);

  float* sums;    // [queries of the tile][padded_dim]
  Pair* queries;  // for each group of queries [padded_dim / 2][queries of the group]
  KeyBlock block;
};

// Calls function<size>(first query of the group) for groups of kCount, half of it, .. 1 queries that cover
// [first, last).
template <int kCount = kMaxQueries, typename Function>
[[gnu::always_inline]] inline void for_groups(int64_t first, int64_t last, const Function& function) {
  for (; first + kCount <= last; first += kCount) function.template operator()<kCount>(first);
  if constexpr (kCount > 1) for_groups<kCount / 2>(first, last, function);
}

void round_queries(const QueryState* states, int64_t num_queries, int64_t head_dim, int64_t padded_dim,
                   Pair* queries) {
  for_groups(0, num_queries, [&]<int kQueries>(int64_t first) {
    Pair* const group = queries + first * (padded_dim / 2);
    for (int q = 0; q < kQueries; ++q) {
      const float* const query = states[first + q].query;
      for (int64_t d = 0; d < padded_dim; d += kLanes) {
        Pair pairs[kLanes / 2];
        round_to_pairs(d + kLanes <= head_dim ? load(query + d) : load_first(query + d, head_dim - d), pairs);
        for (int64_t i = 0; i < kLanes / 2; ++i) group[(d / 2 + i) * kQueries + q] = pairs[i];
      }
    }
  });
}

// The rows of count positions of a cache, padded to padded_dim, and zeros for the rest of the block.
void find_rows(const AttentionArgs& args, const AttentionTile& tile, const void* cache,
               int64_t first_position, int64_t count, int64_t padded_dim, const KeyBlock& block,
               const uint16_t** rows) {
  for (int64_t j = 0; j < kKeyBlock; ++j) rows[j] = block.zeros;
  for (int64_t j = 0; j < count; ++j) {
    rows[j] = static_cast<const uint16_t*>(cache) + offset_in_cache(args, tile, first_position + j);
    if (args.head_dim == padded_dim) continue;
    uint16_t* const padded = block.rows + j * padded_dim;
    __builtin_memcpy(padded, rows[j], static_cast<size_t>(args.head_dim) * 2);
    __builtin_memset(padded + args.head_dim, 0, static_cast<size_t>(padded_dim - args.head_dim) * 2);
    rows[j] = padded;
  }
}

// out[i * out_stride + j] = rows[j][i] for 8 x 8 elements of 4 bytes.
inline void transpose(const uint16_t* const* rows, int64_t offset, char* out, int64_t out_stride) {
  __m256i r[8];
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) r[j] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[j] + offset));
  __m256i pairs[8];
#pragma GCC unroll 4
  for (int j = 0; j < 8; j += 2) {
    pairs[j] = _mm256_unpacklo_epi32(r[j], r[j + 1]);
    pairs[j + 1] = _mm256_unpackhi_epi32(r[j], r[j + 1]);
  }
  __m256i quads[8];  // quads[i] and quads[4 + i]: dimensions i and 4 + i of rows 0 to 3 and 4 to 7
#pragma GCC unroll 2
  for (int half = 0; half < 8; half += 4) {
    quads[half] = _mm256_unpacklo_epi64(pairs[half], pairs[half + 2]);
    quads[half + 1] = _mm256_unpackhi_epi64(pairs[half], pairs[half + 2]);
    quads[half + 2] = _mm256_unpacklo_epi64(pairs[half + 1], pairs[half + 3]);
    quads[half + 3] = _mm256_unpackhi_epi64(pairs[half + 1], pairs[half + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i * out_stride),
                        _mm256_permute2x128_si256(quads[i], quads[4 + i], 0x20));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + (4 + i) * out_stride),
                        _mm256_permute2x128_si256(quads[i], quads[4 + i], 0x31));
  }
}

void pack_keys(const uint16_t* const* rows, int64_t num_panels, int64_t padded_dim, char* keys) {
  for (int64_t j = 0; j < num_panels * kPanelKeys; j += 8) {
    char* const out = keys + j / kPanelKeys * (padded_dim / 2) * kPairBytes + j % kPanelKeys * 4;
    for (int64_t d = 0; d < padded_dim; d += 16) transpose(rows + j, d, out + d / 2 * kPairBytes, kPairBytes);
  }
}

void pack_values(const uint16_t* const* rows, int64_t count, int64_t padded_dim, char* values) {
  for (int64_t j = 0; j < count; j += 2) {
    for (int64_t d = 0; d < padded_dim; d += 16) {
      const __m256i even = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[j] + d));
      const __m256i odd = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[j + 1] + d));
      const __m256i low = _mm256_unpacklo_epi16(even, odd);
      const __m256i high = _mm256_unpackhi_epi16(even, odd);
      auto* const out = reinterpret_cast<__m256i*>(values + (j / 2 * padded_dim + d) * 4);
      _mm256_storeu_si256(out, _mm256_permute2x128_si256(low, high, 0x20));
      _mm256_storeu_si256(out + 1, _mm256_permute2x128_si256(low, high, 0x31));
    }
  }
}

// scores[q][j] = query q . key j, for kQueries queries and kPanels * 16 keys. queries: [num_pairs][kQueries].
template <int kQueries, int kPanels>
[[gnu::noinline]] void score(const Pair* queries, const char* keys, int64_t num_pairs,
                             float (*scores)[kKeyBlock]) {
  [[maybe_unused]] const FlushDenormals flush;
  F32x16 sums[kQueries][kPanels];
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) sums[q][p] = zeros();
  }
  for (int64_t i = 0; i < num_pairs; ++i, queries += kQueries) {
    PairWeights panel[kPanels];
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) panel[p] = load_pair(keys + (p * num_pairs + i) * kPairBytes);
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) sums[q][p] = add_products(sums[q][p], panel[p], queries[q]);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) store(scores[q] + p * kLanes, sums[q][p]);
  }
}

// The softmax's weights of a block, rounded: [queries of the tile].
using Weights = Pair[kKeyBlock / 2];

// sums[q] += sum_j weights[q][j] * values[j] over num_pairs pairs of positions in order, for kChunks chunks
// of dimensions from `first` on. values: [num_pairs][padded_dim] pairs.
template <int kQueries, int kChunks>
[[gnu::noinline]] void add_chunks(const QueryState* states, const Weights* weights, int64_t first_pair,
                                  const char* values, int64_t num_pairs, int64_t padded_dim, int64_t first) {
  [[maybe_unused]] const FlushDenormals flush;
  F32x16 sums[kQueries][kChunks];
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 4
    for (int c = 0; c < kChunks; ++c) sums[q][c] = load(states[q].sums + first + c * kLanes);
  }
  for (int64_t i = 0; i < num_pairs; ++i) {
    PairWeights value[kChunks];
#pragma GCC unroll 4
    for (int c = 0; c < kChunks; ++c)
      value[c] = load_pair(values + (i * padded_dim + first + c * kLanes) * 4);
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 4
      for (int c = 0; c < kChunks; ++c) {
        sums[q][c] = add_products(sums[q][c], value[c], weights[q][first_pair + i]);
      }
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 4
    for (int c = 0; c < kChunks; ++c) store(states[q].sums + first + c * kLanes, sums[q][c]);
  }
}

template <int kQueries>
void add_pairs(const QueryState* states, const Weights* weights, int64_t first_pair, const char* values,
               int64_t num_pairs, int64_t padded_dim) {
  constexpr int kChunks = kMaxVectors / kQueries < 4 ? kMaxVectors / kQueries : 4;
  int64_t d = 0;
  for (; d + kChunks * kLanes <= padded_dim; d += kChunks * kLanes) {
    add_chunks<kQueries, kChunks>(states, weights, first_pair, values, num_pairs, padded_dim, d);
  }
  for (; d < padded_dim; d += kLanes) {
    add_chunks<kQueries, 1>(states, weights, first_pair, values, num_pairs, padded_dim, d);
  }
}

// The values of a block's first count positions, of which the block holds more where holds_more, to queries
// [first, last).
void add_values(const QueryState* states, const Weights* weights, int64_t first, int64_t last, int64_t count,
                bool holds_more, int64_t padded_dim, const KeyBlock& block) {
  const bool cut = holds_more && count % 2 == 1;
  const int64_t num_pairs = cut ? count / 2 : (count + 1) / 2;
  if (cut) {
    const auto* const whole = reinterpret_cast<const uint32_t*>(block.values) + num_pairs * padded_dim;
    for (int64_t d = 0; d < padded_dim; ++d) reinterpret_cast<uint32_t*>(block.last)[d] = whole[d] & 0xffff;
  }
  for_groups(first, last, [&]<int kQueries>(int64_t q) {
    add_pairs<kQueries>(states + q, weights + q, 0, block.values, num_pairs, padded_dim);
    if (cut) add_pairs<kQueries>(states + q, weights + q, num_pairs, block.last, 1, padded_dim);
  });
}

// most: positions of the block that the tile sees.
void attend_to_block(QueryState* states, int64_t num_queries, int64_t first_position, int64_t most,
                     const AttentionArgs& args, int64_t padded_dim, const Scratch& scratch) {
  float scores[kMaxTileQueries][kKeyBlock];
  for_groups(0, num_queries, [&]<int kQueries>(int64_t q) {
    const Pair* const group = scratch.queries + q * (padded_dim / 2);
    if (most > kPanelKeys) {
      score<kQueries, 2>(group, scratch.block.keys, padded_dim / 2, scores + q);
    } else {
      score<kQueries, 1>(group, scratch.block.keys, padded_dim / 2, scores + q);
    }
  });
  Weights weights[kMaxTileQueries];
  const auto count_of = [&](int64_t q) { return least(states[q].num_keys - first_position, kKeyBlock); };
  for (int64_t q = 0; q < num_queries; ++q) {
    if (count_of(q) <= 0) continue;
    update_softmax(states[q], scores[q], count_of(q), args.scale, padded_dim / kLanes);
    round_to_pairs(load(scores[q]), weights[q]);
    round_to_pairs(load(scores[q] + kLanes), weights[q] + kLanes / 2);
  }
  for (int64_t first = 0; first < num_queries;) {
    const int64_t count = count_of(first);
    int64_t last = first + 1;
    while (last < num_queries && count_of(last) == count) ++last;
    if (count > 0) add_values(states, weights, first, last, count, count < most, padded_dim, scratch.block);
    first = last;
  }
}

void attend(const AttentionArgs& args, const AttentionTile& tile, int64_t padded_dim,
            const Scratch& scratch) {
  const int64_t num_queries = tile.num_rows * tile.num_heads;
  QueryState states[kMaxTileQueries];
  start_queries(args, tile, scratch.sums, padded_dim / kLanes, states);
  round_queries(states, num_queries, args.head_dim, padded_dim, scratch.queries);
  const int64_t num_keys = tile.start_position + tile.num_rows;
  for (int64_t position = 0; position < num_keys; position += kKeyBlock) {
    const int64_t count = least(num_keys - position, kKeyBlock);
    const uint16_t* rows[kKeyBlock];
    find_rows(args, tile, args.keys, position, count, padded_dim, scratch.block, rows);
    pack_keys(rows, count > kPanelKeys ? 2 : 1, padded_dim, scratch.block.keys);
    find_rows(args, tile, args.values, position, count, padded_dim, scratch.block, rows);
    pack_values(rows, count, padded_dim, scratch.block.values);
    attend_to_block(states, num_queries, position, count, args, padded_dim, scratch);
  }
  for (int64_t q = 0; q < num_queries; ++q) write_output(args, states[q]);
}

}  // namespace

void paged_attention_bf16(const AttentionArgs& args, const AttentionTile* tiles, int64_t num_tiles,
                          char* scratch) {
  const int64_t padded_dim = (args.head_dim + kLanes - 1) / kLanes * kLanes;
  const Scratch memory(scratch, padded_dim);
  for (int64_t i = 0; i < num_tiles; ++i) attend(args, tiles[i], padded_dim, memory);
}

}  // namespace octet::kernels::OCTET_ISA
