// Partial rotary embedding of query and key, and the key's and value's way into the paged cache.
//
//   x'[i]        = x[i] * cos - x[i + half] * sin   for i < half = rotary_dim / 2, at the token's position;
//   x'[i + half] = x[i + half] * cos + x[i] * sin   dimensions from rotary_dim on pass through;
//   query = query';  cached_keys[slots[t]] = key';  cached_values[slots[t]] = value
//
// Shapes     query [num_tokens, num_heads, head_dim]; key, value [num_tokens, num_kv_heads, head_dim];
//            cosines, sines [max_positions, half]; all fp32; cache [num_slots, num_kv_heads, head_dim]
//            fp32 or bf16.
// Requires   positions below max_positions, slots below num_slots (Backend::rotary_and_kv_write checks
//            them).
// Mapping    grid (num_tokens), block (256); a thread owns every 256th element of the token's key and
//            value, and every 256th pair of its query.
// Precision  two products and one sum in fp32, each rounded; a cache in bf16 rounds to nearest even.
// Cost       num_tokens * (8 * num_heads * rotary_dim + (8 + 2 * bytes of an element) * num_kv_heads *
//            head_dim + 4 * rotary_dim) bytes: memory bound.
// Checked by tests/kernels/rotary_and_kv_write_test.cc, its bytes by cuda_cost_test.cc.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"

namespace octet::kernels::cuda {
namespace {

struct Rotation {
  float* query;
  const float* key;
  const float* value;
  const int32_t* positions;
  const int32_t* slots;
  const float* cosines;
  const float* sines;
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t half;
};

// No fused multiply-add: it would round once less than transformers does.
__device__ float first_of(float first, float second, float cosine, float sine) {
  return __fsub_rn(__fmul_rn(first, cosine), __fmul_rn(second, sine));
}
__device__ float second_of(float first, float second, float cosine, float sine) {
  return __fadd_rn(__fmul_rn(second, cosine), __fmul_rn(first, sine));
}

template <typename Element>
__global__ void rotary_kernel(Rotation r, Element* cached_keys, Element* cached_values) {
  const int64_t t = blockIdx.x;
  const float* const cosines = r.cosines + r.positions[t] * r.half;
  const float* const sines = r.sines + r.positions[t] * r.half;
  float* const query = r.query + t * r.num_heads * r.head_dim;
  for (int64_t pair = threadIdx.x; pair < r.num_heads * r.half; pair += blockDim.x) {
    const int64_t i = pair % r.half;
    float* const head = query + pair / r.half * r.head_dim;
    const float first = head[i];
    const float second = head[i + r.half];
    head[i] = first_of(first, second, cosines[i], sines[i]);
    head[i + r.half] = second_of(first, second, cosines[i], sines[i]);
  }
  const int64_t kv_size = r.num_kv_heads * r.head_dim;
  for (int64_t e = threadIdx.x; e < kv_size; e += blockDim.x) {
    const int64_t d = e % r.head_dim;
    const float* const head = r.key + t * kv_size + (e - d);
    float x = head[d];
    if (d < r.half) {
      x = first_of(x, head[d + r.half], cosines[d], sines[d]);
    } else if (d < 2 * r.half) {
      x = second_of(head[d - r.half], x, cosines[d - r.half], sines[d - r.half]);
    }
    cached_keys[r.slots[t] * kv_size + e] = round_to<Element>(x);
    cached_values[r.slots[t] * kv_size + e] = round_to<Element>(r.value[t * kv_size + e]);
  }
}

}  // namespace

void rotary_and_kv_write(Queue& queue, Tensor query, Tensor key, Tensor value, const int32_t* positions,
                         const int32_t* slots, const RotaryTable& table, const KvLayer& kv) {
  const Rotation rotation = {.query = query.data<float>(),
                             .key = key.data<const float>(),
                             .value = value.data<const float>(),
                             .positions = positions,
                             .slots = slots,
                             .cosines = table.cosines.data<const float>(),
                             .sines = table.sines.data<const float>(),
                             .num_heads = query.size(1),
                             .num_kv_heads = key.size(1),
                             .head_dim = query.size(2),
                             .half = table.cosines.size(1)};
  const LaunchShape shape = {.grid = static_cast<unsigned int>(query.size(0))};
  with_type(kv.keys, [&]<typename Element>(Element* keys) {
    queue.launch("rotary_and_kv_write", shape, rotary_kernel<Element>, rotation, keys,
                 kv.values.data<Element>());
  });
}

}  // namespace octet::kernels::cuda
