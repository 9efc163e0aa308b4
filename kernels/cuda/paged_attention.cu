// Causal attention over the paged KV cache, a block for each row and KV head: the plain kernel, which later
// ones are compared with.
//
//   output[t, h] = softmax_j(query[t, h] . keys[j, g] / sqrt(head_dim)) . values[j, g],  j <= position of t,
//   g = h / (num_heads / num_kv_heads)
//
// Shapes     output, query [num_tokens, num_heads, head_dim] fp32; keys, values [num_blocks,
//            block_size, num_kv_heads, head_dim] bf16 or fp32, found through the sequence's block
//            table.
// Requires   head_dim at most kMaxHeadDim; block ids inside the cache (Backend::paged_attention checks
//            them).
// Mapping    grid (num_tokens, num_kv_heads), block (128). For each query head of the KV head the block
//            walks over the keys, 32 at a time from position 0: a warp computes every fourth score, its
//            lanes every 32nd dimension; then a thread owns every 128th dimension of the output.
// Precision  fp32, online softmax; with a bf16 cache queries and weights are rounded to bf16. A row's
//            bits depend on its query, its position and the keys and values up to it only.
// Cost       2 * (position + 1) * head_dim * bytes of an element for each sequence and KV head, and 8 *
//            num_heads * head_dim for each row; from a KV head's second query head on its keys come
//            from L1 or L2.
// Checked by tests/kernels/paged_attention_test.cc, its bytes by cuda_cost_test.cc.
#include <cmath>

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

constexpr unsigned int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kKeyBlock = 32;  // positions
constexpr int kMaxDimsOfThread = static_cast<int>(kMaxHeadDim) / static_cast<int>(kThreads);

struct Attention {
  float* output;
  const float* query;
  RowTables rows;
  int num_heads;
  int num_kv_heads;
  int head_dim;
  int block_size;
  float scale;
};

// Of one query head so far, the same on every thread but sums.
struct Softmax {
  float maximum = -INFINITY;
  float denominator = 0;
  float sums[kMaxDimsOfThread] = {};  // of the thread's dimensions
};

// What a block shares.
struct Shared {
  float* query;      // [head_dim]
  float* scores;     // [kKeyBlock]
  float* weights;    // [kKeyBlock]
  int64_t* offsets;  // [kKeyBlock] of the keys in the cache
};

template <typename Element>
__device__ void attend_to_block(const Attention& a, const Element* keys, const Element* values, int count,
                                const Shared& shared, Softmax& softmax) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int j = static_cast<int>(threadIdx.x) / 32; j < count; j += kWarps) {
    const Element* const key = keys + shared.offsets[j];
    float sum = 0;
    for (int d = lane; d < a.head_dim; d += 32) sum = fmaf(shared.query[d], to_float(key[d]), sum);
    sum = warp_sum(sum);
    if (lane == 0) shared.scores[j] = sum * a.scale;
  }
  __syncthreads();
  float maximum = softmax.maximum;
  for (int j = 0; j < count; ++j) maximum = fmaxf(maximum, shared.scores[j]);
  if (static_cast<int>(threadIdx.x) < count) {
    shared.weights[threadIdx.x] = expf(shared.scores[threadIdx.x] - maximum);
  }
  __syncthreads();
  const float correction = expf(softmax.maximum - maximum);
  float sum = 0;
  for (int j = 0; j < count; ++j) sum += shared.weights[j];
  softmax.denominator = softmax.denominator * correction + sum;
  softmax.maximum = maximum;
  for (int c = 0; c < kMaxDimsOfThread; ++c) {
    const int d = static_cast<int>(threadIdx.x) + c * static_cast<int>(kThreads);
    if (d >= a.head_dim) break;
    float weighted = softmax.sums[c] * correction;
    for (int j = 0; j < count; ++j) {
      const float weight = to_float(round_to<Element>(shared.weights[j]));
      weighted = fmaf(weight, to_float(values[shared.offsets[j] + d]), weighted);
    }
    softmax.sums[c] = weighted;
  }
}

template <typename Element>
__global__ __launch_bounds__(kThreads) void paged_attention_kernel(Attention a, const Element* keys,
                                                                   const Element* values) {
  Shared shared;
  shared.offsets = reinterpret_cast<int64_t*>(octet_shared);
  shared.scores = reinterpret_cast<float*>(shared.offsets + kKeyBlock);
  shared.weights = shared.scores + kKeyBlock;
  shared.query = shared.weights + kKeyBlock;
  const int64_t t = blockIdx.x;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int num_keys = a.rows.positions[t] + 1;
  const int32_t* const table = a.rows.blocks + a.rows.offsets[t];
  const int group = a.num_heads / a.num_kv_heads;
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    const int64_t row = (t * a.num_heads + head) * a.head_dim;
    for (int d = static_cast<int>(threadIdx.x); d < a.head_dim; d += static_cast<int>(kThreads)) {
      shared.query[d] = to_float(round_to<Element>(a.query[row + d]));
    }
    Softmax softmax;
    for (int first = 0; first < num_keys; first += kKeyBlock) {
      const int count = num_keys - first < kKeyBlock ? num_keys - first : kKeyBlock;
      if (static_cast<int>(threadIdx.x) < count) {
        const int position = first + static_cast<int>(threadIdx.x);
        const int64_t slot = int64_t{table[position / a.block_size]} * a.block_size + position % a.block_size;
        shared.offsets[threadIdx.x] = (slot * a.num_kv_heads + kv_head) * a.head_dim;
      }
      __syncthreads();
      attend_to_block(a, keys, values, count, shared, softmax);
      __syncthreads();  // before the next block's offsets, or the next head's query
    }
    for (int c = 0; c < kMaxDimsOfThread; ++c) {
      const int d = static_cast<int>(threadIdx.x) + c * static_cast<int>(kThreads);
      if (d < a.head_dim) a.output[row + d] = softmax.sums[c] / softmax.denominator;
    }
  }
}

}  // namespace

void paged_attention(Queue& queue, Tensor output, Tensor query, const KvLayer& kv, const RowTables& rows) {
  OCTET_CHECK(query.size(2) <= kMaxHeadDim, "head_dim ", query.size(2), ", limit ", kMaxHeadDim);
  const Attention attention = {.output = output.data<float>(),
                               .query = query.data<const float>(),
                               .rows = rows,
                               .num_heads = static_cast<int>(query.size(1)),
                               .num_kv_heads = static_cast<int>(kv.keys.size(2)),
                               .head_dim = static_cast<int>(query.size(2)),
                               .block_size = static_cast<int>(kv.keys.size(1)),
                               .scale = 1.0f / std::sqrt(static_cast<float>(query.size(2)))};
  const LaunchShape shape = {
      .grid = dim3(static_cast<unsigned int>(query.size(0)), static_cast<unsigned int>(kv.keys.size(2))),
      .threads = kThreads,
      .shared_bytes = kKeyBlock * (sizeof(int64_t) + 2 * sizeof(float)) +
                      static_cast<size_t>(query.size(2)) * sizeof(float)};
  with_type(kv.keys, [&]<typename Element>(const Element* keys) {
    queue.launch("paged_attention", shape, paged_attention_kernel<Element>, attention, keys,
                 kv.values.data<const Element>());
  });
}

}  // namespace octet::kernels::cuda
