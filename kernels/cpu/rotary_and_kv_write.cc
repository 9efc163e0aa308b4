// Partial rotary embedding of query and key, and the key's and value's way into the paged cache.
//
//   x'[i]        = x[i] * cos - x[i + half] * sin   for i < half = rotary_dim / 2, at the token's position;
//   x'[i + half] = x[i + half] * cos + x[i] * sin   dimensions from rotary_dim on pass through;
//   query = query';  cached_keys[slots[t]] = key';  cached_values[slots[t]] = value
//
// Shapes     query [num_tokens, num_heads, head_dim]; key, value [num_tokens, num_kv_heads, head_dim];
//            cosines, sines [max_positions, half]; all fp32; cache [num_slots, num_kv_heads, head_dim] fp32
//            or bf16.
// Requires   positions below max_positions, slots below num_slots (Backend::rotary_and_kv_write checks them).
// Mapping    a thread takes a contiguous part of the tokens.
// Precision  two products and one sum in fp32, each rounded, as transformers computes them; a cache in bf16
//            rounds the result to nearest, ties to even, denormals to zero.
// Cost       num_tokens * head_dim * (8 * num_heads + (8 + 2 * bytes of an element) * num_kv_heads) bytes;
//            memory bound.
// Checked by tests/kernels/rotary_and_kv_write_test.cc.
#include "kernels/cpu/op_kernels.h"
#include "kernels/cpu/packed_simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

inline void put(float* output, F32x16 x) {
  store(output, x);
}
inline void put(uint16_t* output, F32x16 x) {
  round_to_bfloat16(x, output);
}
// The first count (1..15) lanes.
inline void put_first(float* output, F32x16 x, int64_t count) {
  store_first(output, x, count);
}
inline void put_first(uint16_t* output, F32x16 x, int64_t count) {
  uint16_t rounded[kLanes];
  round_to_bfloat16(x, rounded);
  __builtin_memcpy(output, rounded, static_cast<size_t>(count) * sizeof(uint16_t));
}

template <typename Element>
void copy(Element* output, const float* input, int64_t num_elements) {
  int64_t i = 0;
  for (; i + kLanes <= num_elements; i += kLanes) put(output + i, load(input + i));
  if (i < num_elements) put_first(output + i, load_first(input + i, num_elements - i), num_elements - i);
}

// output, input: [2 * half]; output may be input.
template <typename Element>
void rotate(Element* output, const float* input, const float* cosines, const float* sines, int64_t half) {
  int64_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const F32x16 cosine = load(cosines + i);
    const F32x16 sine = load(sines + i);
    const F32x16 first = load(input + i);
    const F32x16 second = load(input + half + i);
    put(output + i, first * cosine - second * sine);
    put(output + half + i, second * cosine + first * sine);
  }
  if (i < half) {
    const int64_t rest = half - i;
    const F32x16 cosine = load_first(cosines + i, rest);
    const F32x16 sine = load_first(sines + i, rest);
    const F32x16 first = load_first(input + i, rest);
    const F32x16 second = load_first(input + half + i, rest);
    put_first(output + i, first * cosine - second * sine, rest);
    put_first(output + half + i, second * cosine + first * sine, rest);
  }
}

template <typename Element>
void rotate_and_write(const RotaryArgs& args, int64_t first_row, int64_t last_row) {
  const int64_t kv_row = args.num_kv_heads * args.head_dim;
  const int64_t rotary_dim = 2 * args.half;
  for (int64_t t = first_row; t < last_row; ++t) {
    const float* const cosines = args.cosines + args.positions[t] * args.half;
    const float* const sines = args.sines + args.positions[t] * args.half;
    for (int64_t h = 0; h < args.num_heads; ++h) {
      float* const query = args.query + (t * args.num_heads + h) * args.head_dim;
      rotate(query, query, cosines, sines, args.half);
    }
    Element* const keys = static_cast<Element*>(args.cached_keys) + args.slots[t] * kv_row;
    for (int64_t h = 0; h < args.num_kv_heads; ++h) {
      const float* const key = args.key + t * kv_row + h * args.head_dim;
      Element* const cached = keys + h * args.head_dim;
      rotate(cached, key, cosines, sines, args.half);
      copy(cached + rotary_dim, key + rotary_dim, args.head_dim - rotary_dim);
    }
    copy(static_cast<Element*>(args.cached_values) + args.slots[t] * kv_row, args.value + t * kv_row, kv_row);
  }
}

}  // namespace

void rotary_and_kv_write(const RotaryArgs& args, int64_t first_row, int64_t last_row) {
  if (args.cache_type == DType::kBFloat16) {
    rotate_and_write<uint16_t>(args, first_row, last_row);
  } else {
    rotate_and_write<float>(args, first_row, last_row);
  }
}

}  // namespace octet::kernels::OCTET_ISA
