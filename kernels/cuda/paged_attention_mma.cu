// Causal attention over the paged KV cache on tensor cores, for prefill and decode alike: a block computes a
// tile of rows over some splits of their keys, as attention_plan.h divides them, and a second kernel merges
// what other blocks have left of a row.
//
//   output[t, h] = softmax_j(query[t, h] . keys[j, g] / sqrt(head_dim)) . values[j, g],  j <= position of t,
//   g = h / (num_heads / num_kv_heads)
//
// Shapes     output, query [num_tokens, num_heads, head_dim] fp32; keys, values [num_blocks, block_size,
//            num_kv_heads, head_dim] bf16, found through the sequence's block table.
// Requires   head_dim 16, 128 or 192; pointers aligned to 16 bytes.
// Mapping    grid (items, num_kv_heads), block (128). Keys and values come in tiles of 64 positions, the next
//            one under way (cp.async) while this one is computed. Wide tiles: a warp owns 16 rows. Narrow
//            tiles: the four warps share 16 rows; each computes the scores of 16 keys and then a quarter of
//            the columns. Merging: grid (merges, num_kv_heads), block (128), a thread an element.
// Precision  queries and weights in bf16, sums in fp32, online softmax in base 2 over 64 keys at a time from
//            the start of the split; the denominator is the sum of the rounded weights. A row's operations
//            and their order are the same in both kinds of tile and however the splits are divided, so its
//            bits depend on its query, its position and the keys and values up to it only.
// Cost       4 * num_keys * head_dim bytes for each tile and KV head, 8 * num_heads * head_dim for each row;
// 8 * (head_dim
//            + 2) more for each row and split where a row has several. 4 * num_keys * head_dim operations for
//            a row, rows in tiles of 16 or 64: decode is bound by memory, prefill by arithmetic.
// Checked by tests/kernels/paged_attention_test.cc and attention_plan_test.cc, its bytes by
// cuda_cost_test.cc.
#include <octet_ptx.cuh>

#include <cmath>

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kTileKeys = 64;
constexpr uint32_t kOnes = 0x3f803f80;  // two bf16

struct Attention {
  float* output;
  const float* query;
  const int32_t* blocks;  // the block tables of all chunks, one after the other
  float* partials;        // [units, num_kv_heads, kUnitRows, head_dim + 2]: sums, maximum, denominator
  int num_heads;
  int num_kv_heads;
  int block_size;
  float scale;  // of scores, whose exponentials are taken to base 2
};

// Of a row in some splits: its highest score, and what sums are relative to it.
struct Weighing {
  float maximum;
  float denominator;
};

// How the sums of two parts of a row's keys become one, the earlier part first.
struct Merging {
  float earlier;  // what the earlier part's sums are multiplied with
  float later;
  bool changes;  // whether the later part has any key
};

__device__ inline Merging merge(Weighing& row, const Weighing& later) {
  if (later.maximum == -INFINITY) return {1, 0, false};
  const float maximum = fmaxf(row.maximum, later.maximum);
  const Merging merging = {exp2f(row.maximum - maximum), exp2f(later.maximum - maximum), true};
  row.maximum = maximum;
  row.denominator = fmaf(row.denominator, merging.earlier, __fmul_rn(later.denominator, merging.later));
  return merging;
}
__device__ inline float merged(float earlier, float later, const Merging& merging) {
  return merging.changes ? fmaf(earlier, merging.earlier, __fmul_rn(later, merging.later)) : earlier;
}

// What both kinds of tile are.
template <int kHeadDim, int kTileRows>
struct Tile {
  static constexpr bool kSharesRows = kTileRows == kUnitRows;
  static constexpr int kPairs = kHeadDim / 16;  // of output columns, 16 a pair of products
  static constexpr int kPairsOfWarp = kSharesRows ? (kPairs + kWarps - 1) / kWarps : kPairs;
  static constexpr int kKeyPairs = kSharesRows ? 1 : kTileKeys / 16;  // whose scores a warp computes
  static constexpr int kRow =
      kHeadDim + 8;  // elements of a row in shared memory: eight rows meet no bank twice
  static constexpr int kRowBytes = kRow * static_cast<int>(sizeof(__nv_bfloat16));
  static constexpr int kWeightRow = kTileKeys + 8;
  static constexpr size_t kSharedBytes =
      (kTileRows + 2 * kTileKeys) * kRow * sizeof(__nv_bfloat16) +
      (kSharesRows ? kUnitRows * kWeightRow * sizeof(__nv_bfloat16) + kWarps * kUnitRows * sizeof(float) : 0);
};

// A block at its work. A thread has, as the products' fragments do, parts of rows g and g + 8 of its warp's
// 16, g = lane / 4, columns 2t and 2t + 1 of each eight, t = lane % 4.
template <int kHeadDim, int kTileRows>
class AttentionBlock {
 public:
  __device__ AttentionBlock(const Attention& a, const AttentionItem& item)
      : a_(a),
        item_(item),
        kv_head_(static_cast<int>(blockIdx.y)),
        group_(a.num_heads / a.num_kv_heads),
        warp_(static_cast<int>(threadIdx.x) / 32),
        lane_(static_cast<int>(threadIdx.x) % 32),
        unit_(T::kSharesRows ? 0 : warp_) {
    num_keys_ = position(kTileRows - 1) + 1;
    weights_ = reinterpret_cast<__nv_bfloat16*>(octet_shared) + (kTileRows + 2 * kTileKeys) * T::kRow;
    maxima_ = reinterpret_cast<float*>(weights_ + kUnitRows * T::kWeightRow);
    const uint32_t queries = ptx::shared_address(octet_shared);
    keys_ = queries + kTileRows * T::kRowBytes;
    values_ = keys_ + kTileKeys * T::kRowBytes;
    query_row_ = queries + (unit_ * kUnitRows + lane_ % 16) * T::kRowBytes + lane_ / 16 * 16;
    key_row_ = keys_ + (key_of_tile(0) + lane_ / 16 * 8 + lane_ % 8) * T::kRowBytes + lane_ / 8 % 2 * 16;
    value_row_ = values_ + lane_ % 16 * T::kRowBytes + pair(0) * 32 + lane_ / 16 * 16;
    if (T::kSharesRows) {
      weight_row_ = ptx::shared_address(weights_ + lane_ % 16 * T::kWeightRow) + lane_ / 16 * 16;
    }
    for (int half = 0; half < 2; ++half) position_[half] = position(tile_row(half));
  }

  __device__ void run(const __nv_bfloat16* keys, const __nv_bfloat16* values) {
    const int first_key = item_.first_split * kSplitKeys;
    const int last_key = item_.end_split * kSplitKeys;
    const int end_key = num_keys_ < last_key ? num_keys_ : last_key;
    start_tile(keys_, keys, first_key);
    ptx::commit_copies();
    round_queries();
    for (int key = first_key; key < end_key; key += kTileKeys) {
      start_tile(values_, values, key);
      ptx::commit_copies();
      if (key % kSplitKeys == 0) clear();
      ptx::wait_copies<1>();
      __syncthreads();  // keys and queries are there
      float scores[T::kKeyPairs][2][4] = {};
      compute_scores(scores, key);
      __syncthreads();  // keys have been read
      if (key + kTileKeys < end_key) start_tile(keys_, keys, key + kTileKeys);
      ptx::commit_copies();
      weigh(scores);
      ptx::wait_copies<1>();
      __syncthreads();  // values are there, and the weights that warps share
      // A weight of zero keeps a value from a row that does not see it only where the value is finite.
      const bool is_edge = key + kTileKeys > position(0) + 1;
      const bool has_aside = is_edge && __syncthreads_or(set_aside_values()) != 0;
      add_values(scores);
      if (has_aside) add_values_aside(values, key);
      __syncthreads();  // values and weights have been read
      const bool ends_split = (key + kTileKeys) % kSplitKeys == 0 || key + kTileKeys >= end_key;
      if (ends_split) end_split(key / kSplitKeys, key + kTileKeys >= end_key);
    }
  }

 private:
  using T = Tile<kHeadDim, kTileRows>;

  __device__ int num_tile_rows() const { return item_.num_rows * group_ - item_.first_tile_row; }
  // Rows past the last are computed as the last, and not stored.
  __device__ int clamped(int row) const { return row < num_tile_rows() ? row : num_tile_rows() - 1; }
  __device__ int position(int row) const {
    return item_.start_position + (item_.first_tile_row + clamped(row)) / group_;
  }
  __device__ int tile_row(int half) const { return unit_ * kUnitRows + lane_ / 4 + 8 * half; }
  // Where the row's query and output are.
  __device__ int64_t row_offset(int row) const {
    const int of_chunk = item_.first_tile_row + clamped(row);
    const int64_t token = item_.first_row + of_chunk / group_;
    return (token * a_.num_heads + kv_head_ * group_ + of_chunk % group_) * kHeadDim;
  }
  __device__ float* partial(int unit, int row_of_unit) const {
    const int64_t place = int64_t{item_.partial + unit} * a_.num_kv_heads + kv_head_;
    return a_.partials + (place * kUnitRows + row_of_unit) * (kHeadDim + 2);
  }
  // The i-th pair of columns of the warp.
  __device__ int pair(int i) const { return T::kSharesRows ? warp_ + kWarps * i : i; }
  __device__ bool has_pair(int i) const { return T::kPairs % kWarps == 0 || pair(i) < T::kPairs; }

  // Where the key's row is in the cache.
  __device__ int64_t cache_row(int key) const {
    const int64_t block = a_.blocks[item_.first_block + key / a_.block_size];
    return ((block * a_.block_size + key % a_.block_size) * a_.num_kv_heads + kv_head_) * kHeadDim;
  }

  // 64 positions of keys or values from first_key on, zeros past the last.
  __device__ void start_tile(uint32_t to, const __nv_bfloat16* cache, int first_key) const {
    constexpr int kParts = kHeadDim / 8;  // of 16 bytes, in a row
    for (int i = static_cast<int>(threadIdx.x); i < kTileKeys * kParts; i += kThreads) {
      const int key = first_key + i / kParts;
      const bool is_valid = key < num_keys_;
      const int64_t row = is_valid ? cache_row(key) : 0;
      ptx::start_copy(to + i / kParts * T::kRowBytes + i % kParts * 16, cache + row + i % kParts * 8,
                      is_valid);
    }
  }

  __device__ void round_queries() const {
    constexpr int kParts = kHeadDim / 4;
    auto* const queries = reinterpret_cast<__nv_bfloat16*>(octet_shared);
    for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kParts; i += kThreads) {
      const int row = i / kParts;
      const int part = i % kParts * 4;
      const float4 x = *reinterpret_cast<const float4*>(a_.query + row_offset(row) + part);
      auto* const rounded = reinterpret_cast<uint2*>(queries + row * T::kRow + part);
      *rounded = uint2{ptx::pack_bf16(x.x, x.y), ptx::pack_bf16(x.z, x.w)};
    }
  }

  // Of the warp's rows with its keys of the tile; -INFINITY where a row does not see a key.
  __device__ void compute_scores(float (&scores)[T::kKeyPairs][2][4], int first_key) const {
#pragma unroll
    for (int step = 0; step < kHeadDim / 16; ++step) {
      uint32_t query[4];
      ptx::load_matrices(query, query_row_ + step * 32);
#pragma unroll
      for (int i = 0; i < T::kKeyPairs; ++i) {
        uint32_t key[4];
        ptx::load_matrices(key, key_row_ + i * 16 * T::kRowBytes + step * 32);
        ptx::mma_bf16(scores[i][0], query, key[0], key[1]);
        ptx::mma_bf16(scores[i][1], query, key[2], key[3]);
      }
    }
#pragma unroll
    for (int i = 0; i < T::kKeyPairs; ++i) {
      for (int half = 0; half < 2; ++half) {
        for (int e = 0; e < 4; ++e) {
          const int key = first_key + key_of_tile(i) + half * 8 + lane_ % 4 * 2 + e % 2;
          const float score = scores[i][half][e] * a_.scale;
          scores[i][half][e] = key <= position_[e / 2] ? score : -INFINITY;
        }
      }
    }
  }
  // The first of the i-th pair of eights whose scores the warp computes.
  __device__ int key_of_tile(int i) const {
    return (T::kSharesRows ? warp_ : i) * 16;
  }

  // Scores become weights, relative to the row's highest score so far, and so do the sums.
  __device__ void weigh(float (&scores)[T::kKeyPairs][2][4]) {
    float highest[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int i = 0; i < T::kKeyPairs; ++i) {
      for (int half = 0; half < 2; ++half) {
        for (int e = 0; e < 4; ++e) highest[e / 2] = fmaxf(highest[e / 2], scores[i][half][e]);
      }
    }
    for (int half = 0; half < 2; ++half) {
      highest[half] = fmaxf(highest[half], __shfl_xor_sync(~0u, highest[half], 1));
      highest[half] = fmaxf(highest[half], __shfl_xor_sync(~0u, highest[half], 2));
    }
    if (T::kSharesRows) share_maxima(highest);
    float correction[2];
    float reference[2];
    for (int half = 0; half < 2; ++half) {
      const float maximum = fmaxf(maximum_[half], highest[half]);
      reference[half] = maximum == -INFINITY ? 0 : maximum;  // of a row that has seen no key yet
      correction[half] = exp2f(maximum_[half] - reference[half]);
      maximum_[half] = maximum;
    }
#pragma unroll
    for (int i = 0; i < T::kKeyPairs; ++i) {
      for (int half = 0; half < 2; ++half) {
        for (int e = 0; e < 4; ++e) scores[i][half][e] = exp2f(scores[i][half][e] - reference[e / 2]);
      }
    }
#pragma unroll
    for (int i = 0; i < T::kPairsOfWarp; ++i) {
      for (int half = 0; half < 2; ++half) {
        for (int e = 0; e < 4; ++e) sums_[i][half][e] *= correction[e / 2];
      }
    }
    for (int e = 0; e < 4; ++e) denominators_[e] *= correction[e / 2];
    if (T::kSharesRows) share_weights(scores);
  }

  __device__ void share_maxima(float (&highest)[2]) {
    if (lane_ % 4 == 0) {
      for (int half = 0; half < 2; ++half) maxima_[warp_ * kUnitRows + lane_ / 4 + 8 * half] = highest[half];
    }
    __syncthreads();
    for (int half = 0; half < 2; ++half) {
      for (int warp = 0; warp < kWarps; ++warp) {
        highest[half] = fmaxf(highest[half], maxima_[warp * kUnitRows + lane_ / 4 + 8 * half]);
      }
    }
  }
  __device__ void share_weights(const float (&weights)[T::kKeyPairs][2][4]) {
    for (int half = 0; half < 2; ++half) {
      for (int row = 0; row < 2; ++row) {
        __nv_bfloat16* const to =
            weights_ + (lane_ / 4 + 8 * row) * T::kWeightRow + warp_ * 16 + half * 8 + lane_ % 4 * 2;
        *reinterpret_cast<uint32_t*>(to) =
            ptx::pack_bf16(weights[0][half][2 * row], weights[0][half][2 * row + 1]);
      }
    }
  }

  // sums += weights values, denominators += the weights.
  __device__ void add_values(const float (&weights)[T::kKeyPairs][2][4]) {
#pragma unroll
    for (int step = 0; step < kTileKeys / 16; ++step) {
      uint32_t weight[4];
      if constexpr (T::kSharesRows) {
        ptx::load_matrices(weight, weight_row_ + step * 32);
      } else {
        for (int i = 0; i < 4; ++i) {
          const float(&pair)[4] = weights[step][i / 2];
          weight[i] = ptx::pack_bf16(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
        }
      }
      ptx::mma_bf16(denominators_, weight, kOnes, kOnes);
#pragma unroll
      for (int i = 0; i < T::kPairsOfWarp; ++i) {
        if (!has_pair(i)) continue;
        uint32_t value[4];
        ptx::load_matrices_transposed(value,
                                      value_row_ + step * 16 * T::kRowBytes + (pair(i) - pair(0)) * 32);
        ptx::mma_bf16(sums_[i][0], weight, value[0], value[1]);
        ptx::mma_bf16(sums_[i][1], weight, value[2], value[3]);
      }
    }
  }

  // Makes zeros of values of the tile that are not finite, of those that the thread has copied. Whether there
  // were any.
  __device__ bool set_aside_values() const {
    bool found = false;
    for (int i = static_cast<int>(threadIdx.x); i < kTileKeys * kHeadDim / 8; i += kThreads) {
      char* const part = octet_shared + (values_ - ptx::shared_address(octet_shared)) +
                         i / (kHeadDim / 8) * T::kRowBytes + i % (kHeadDim / 8) * 16;
      uint4 bits = *reinterpret_cast<const uint4*>(part);
      const bool clears = clear_non_finite(bits.x) | clear_non_finite(bits.y) | clear_non_finite(bits.z) |
                          clear_non_finite(bits.w);
      if (clears) *reinterpret_cast<uint4*>(part) = bits;
      found |= clears;
    }
    return found;
  }
  // Of two bf16.
  static __device__ bool clear_non_finite(uint32_t& bits) {
    const uint32_t before = bits;
    if ((bits & 0x7f80u) == 0x7f80u) bits &= 0xffff0000u;
    if ((bits & 0x7f800000u) == 0x7f800000u) bits &= 0xffffu;
    return bits != before;
  }
  // Adds what set_aside_values() took away, to the rows that see it: their sums are not finite any more.
  __device__ void add_values_aside(const __nv_bfloat16* values, int first_key) {
    for (int key = first_key; key < first_key + kTileKeys && key < num_keys_; ++key) {
      const __nv_bfloat16* const row = values + cache_row(key);
#pragma unroll
      for (int i = 0; i < T::kPairsOfWarp; ++i) {
        if (!has_pair(i)) continue;
#pragma unroll
        for (int part = 0; part < 2; ++part) {
          for (int e = 0; e < 4; ++e) {
            const float value = to_float(row[pair(i) * 16 + part * 8 + lane_ % 4 * 2 + e % 2]);
            if (key <= position_[e / 2] && !isfinite(value)) sums_[i][part][e] += value;
          }
        }
      }
    }
  }

  __device__ void clear() {
    for (int half = 0; half < 2; ++half) maximum_[half] = -INFINITY;
#pragma unroll
    for (int i = 0; i < T::kPairsOfWarp; ++i) {
      for (int half = 0; half < 2; ++half) {
        for (int e = 0; e < 4; ++e) sums_[i][half][e] = 0;
      }
    }
    for (int e = 0; e < 4; ++e) denominators_[e] = 0;
  }

  // The results of a split go to the output or to the block's partials, merged with those of the block's
  // splits before, which are in the partials: one loop, since two would not fit into the registers.
  __device__ void end_split(int split, bool is_last) {
    const bool has_several = item_.end_split - item_.first_split > 1;
    const bool has_earlier = split > item_.first_split;
    const bool to_output = item_.partial == kToOutput || (has_several && is_last);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      Weighing weighing = {maximum_[half], denominators_[2 * half]};
      Merging merging = {1, 0, false};
      if (has_earlier) {
        merging = merge(earlier_[half], weighing);
        weighing = earlier_[half];
      }
      earlier_[half] = weighing;
      if (to_output && tile_row(half) >= num_tile_rows()) continue;
      float* const before = to_output && !has_earlier ? nullptr : partial(unit_, lane_ / 4 + 8 * half);
      float* const to = to_output ? a_.output + row_offset(tile_row(half)) : before;
      const float divisor = to_output ? weighing.denominator : 1;
#pragma unroll
      for (int i = 0; i < T::kPairsOfWarp; ++i) {
        if (!has_pair(i)) continue;
#pragma unroll
        for (int part = 0; part < 2; ++part) {
          const int at = pair(i) * 16 + part * 8 + lane_ % 4 * 2;
          float2 sum = {sums_[i][part][2 * half], sums_[i][part][2 * half + 1]};
          if (has_earlier) {
            const float2 earlier = *reinterpret_cast<const float2*>(before + at);
            sum = {merged(earlier.x, sum.x, merging), merged(earlier.y, sum.y, merging)};
          }
          *reinterpret_cast<float2*>(to + at) = float2{sum.x / divisor, sum.y / divisor};
        }
      }
      if (!to_output && lane_ % 4 == 0 && (!T::kSharesRows || warp_ == 0)) {
        *reinterpret_cast<float2*>(to + kHeadDim) = float2{weighing.maximum, weighing.denominator};
      }
    }
  }

  const Attention& a_;
  const AttentionItem& item_;
  const int kv_head_;
  const int group_;
  const int warp_;
  const int lane_;
  const int unit_;  // of 16 rows that the warp computes
  int num_keys_;    // that the tile's last row sees
  int position_[2];

  // In shared memory: queries [kTileRows, kRow], keys and values [kTileKeys, kRow] bf16, and where warps
  // share rows, weights [kUnitRows, kWeightRow] bf16 and maxima [kWarps, kUnitRows].
  uint32_t keys_;
  uint32_t values_;
  __nv_bfloat16* weights_;
  float* maxima_;
  // Which row of the first 16 x 16 elements the thread gives to load_matrices().
  uint32_t query_row_;
  uint32_t key_row_;
  uint32_t value_row_;
  uint32_t weight_row_ = 0;

  // Of the split.
  float maximum_[2];
  float sums_[T::kPairsOfWarp][2][4];
  float denominators_[4];  // the product with ones: twice the one of row g, twice that of row g + 8
  Weighing earlier_[2];    // of the splits before, where a block computes several
};

template <int kHeadDim, int kTileRows>
__global__ __launch_bounds__(kThreads, 2) void paged_attention_mma_kernel(Attention a,
                                                                          const AttentionItem* items,
                                                                          const __nv_bfloat16* keys,
                                                                          const __nv_bfloat16* values) {
  const AttentionItem item = items[blockIdx.x];
  if (item.num_rows == 0) return;
  AttentionBlock<kHeadDim, kTileRows> block(a, item);
  block.run(keys, values);
}

template <int kHeadDim>
__global__ __launch_bounds__(kThreads) void merge_attention_kernel(Attention a,
                                                                   const AttentionMerge* merges) {
  const AttentionMerge m = merges[blockIdx.x];
  const int64_t kv_head = blockIdx.y;
  const int group = a.num_heads / a.num_kv_heads;
  for (int i = static_cast<int>(threadIdx.x); i < kUnitRows * kHeadDim; i += kThreads) {
    const int row = i / kHeadDim;
    const int column = i % kHeadDim;
    const int of_chunk = m.first_tile_row + row;
    if (of_chunk >= m.num_rows * group) break;
    Weighing weighing = {-INFINITY, 0};
    float sum = 0;
    for (int split = 0; split < m.num_splits; ++split) {
      const int64_t place = (int64_t{m.first_partial} + int64_t{split} * m.stride) * a.num_kv_heads + kv_head;
      const float* const part = a.partials + (place * kUnitRows + row) * (kHeadDim + 2);
      const Weighing later = {part[kHeadDim], part[kHeadDim + 1]};
      if (split == 0) {
        weighing = later;
        sum = part[column];
      } else {
        sum = merged(sum, part[column], merge(weighing, later));
      }
    }
    const int64_t token = m.first_row + of_chunk / group;
    a.output[(token * a.num_heads + kv_head * group + of_chunk % group) * kHeadDim + column] =
        sum / weighing.denominator;
  }
}

template <int kHeadDim>
void launch_all(Queue& queue, const Attention& a, const AttentionTables& tables, const KvLayer& kv) {
  const auto grid = [&](size_t count) {
    return dim3(static_cast<unsigned int>(count), static_cast<unsigned int>(a.num_kv_heads));
  };
  const auto attend = [&](auto kernel, const AttentionItem* items, size_t count, size_t shared_bytes) {
    if (count == 0) return;
    queue.launch("paged_attention", {.grid = grid(count), .threads = kThreads, .shared_bytes = shared_bytes},
                 kernel, a, items, kv.keys.data<const __nv_bfloat16>(),
                 kv.values.data<const __nv_bfloat16>());
  };
  attend(paged_attention_mma_kernel<kHeadDim, kUnitRows>, tables.narrow, tables.num_narrow,
         Tile<kHeadDim, kUnitRows>::kSharedBytes);
  attend(paged_attention_mma_kernel<kHeadDim, kWideRows>, tables.wide, tables.num_wide,
         Tile<kHeadDim, kWideRows>::kSharedBytes);
  if (tables.num_merges == 0) return;
  queue.launch("merge_attention", {.grid = grid(tables.num_merges), .threads = kThreads},
               merge_attention_kernel<kHeadDim>, a, tables.merges);
}

}  // namespace

bool has_mma_attention(const KvLayer& kv) {
  const int64_t head_dim = kv.keys.size(3);
  return kv.keys.dtype() == DType::kBFloat16 && (head_dim == 16 || head_dim == 128 || head_dim == 192);
}

int64_t attention_partial_bytes(const KvLayer& kv, int32_t num_partials) {
  return num_partials * kv.keys.size(2) * kUnitRows * (kv.keys.size(3) + 2) * size_of(DType::kFloat32);
}

void paged_attention_mma(Queue& queue, Tensor output, Tensor query, const KvLayer& kv,
                         const AttentionTables& tables) {
  const Attention attention = {
      .output = output.data<float>(),
      .query = query.data<const float>(),
      .blocks = tables.blocks,
      .partials = tables.partials,
      .num_heads = static_cast<int>(query.size(1)),
      .num_kv_heads = static_cast<int>(kv.keys.size(2)),
      .block_size = static_cast<int>(kv.keys.size(1)),
      .scale = static_cast<float>(M_LOG2E / std::sqrt(static_cast<double>(query.size(2))))};
  switch (query.size(2)) {
    case 16:
      return launch_all<16>(queue, attention, tables, kv);
    case 128:
      return launch_all<128>(queue, attention, tables, kv);
    case 192:
      return launch_all<192>(queue, attention, tables, kv);
    default:
      OCTET_CHECK(false, "no attention on tensor cores for head_dim ", query.size(2));
  }
}

}  // namespace octet::kernels::cuda
