// LayerNorm1P over the last dimension: LayerNorm whose stored weight is zero-centred.
//
//   output[t, i] = (input[t, i] - mean) / sqrt(variance + epsilon) * (weight[i] + 1) + bias[i]
//   mean = sum_i input[t, i] / hidden,  variance = sum_i (input[t, i] - mean)^2 / hidden
//
// Shapes     output, input [num_tokens, hidden] fp32; weight, bias [hidden] bf16 or fp32.
// Requires   output does not alias input (Backend::layer_norm checks it).
// Mapping    a thread takes a contiguous part of the rows.
// Precision  fp32; sixteen lanes of partial sums, then simd.h's tree. Two passes, lest the variance cancel.
// Cost       8 * num_tokens * hidden bytes; the second and third read of a row hit the cache.
// Checked by tests/kernels/layer_norm_test.cc.
#include "kernels/cpu/op_kernels.h"
#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

float mean_of(const float* row, int64_t hidden) {
  F32x16 sum = zeros();
  int64_t i = 0;
  for (; i + kLanes <= hidden; i += kLanes) sum = sum + load(row + i);
  if (i < hidden) sum = sum + load_first(row + i, hidden - i);
  return reduce_add(sum) / static_cast<float>(hidden);
}

float variance_of(const float* row, float mean, int64_t hidden) {
  const F32x16 means = broadcast(mean);
  F32x16 sum = zeros();
  int64_t i = 0;
  for (; i + kLanes <= hidden; i += kLanes) {
    const F32x16 difference = load(row + i) - means;
    sum = multiply_add(difference, difference, sum);
  }
  float rest[kLanes] = {};  // padded with differences of zero
  for (int64_t k = i; k < hidden; ++k) rest[k - i] = row[k] - mean;
  if (i < hidden) sum = multiply_add(load(rest), load(rest), sum);
  return reduce_add(sum) / static_cast<float>(hidden);
}

template <typename Weight, typename Bias>
void normalize(const LayerNormArgs& args, int64_t first_row, int64_t last_row) {
  const Weight* const weight = static_cast<const Weight*>(args.weight);
  const Bias* const bias = static_cast<const Bias*>(args.bias);
  for (int64_t t = first_row; t < last_row; ++t) {
    const float* const input = args.input + t * args.input_stride;
    float* const output = args.output + t * args.output_stride;
    const float mean = mean_of(input, args.hidden);
    const float variance = variance_of(input, mean, args.hidden);
    const F32x16 means = broadcast(mean);
    const F32x16 scale = broadcast(1.0f / __builtin_sqrtf(variance + args.epsilon));
    const F32x16 one = broadcast(1.0f);
    int64_t i = 0;
    for (; i + kLanes <= args.hidden; i += kLanes) {
      const F32x16 x = (load(input + i) - means) * scale;
      store(output + i, multiply_add(x, load(weight + i) + one, load(bias + i)));
    }
    if (i < args.hidden) {
      const int64_t rest = args.hidden - i;
      const F32x16 x = (load_first(input + i, rest) - means) * scale;
      store_first(output + i, multiply_add(x, load_first(weight + i, rest) + one, load_first(bias + i, rest)),
                  rest);
    }
  }
}

template <typename Weight>
void normalize_with(const LayerNormArgs& args, int64_t first_row, int64_t last_row) {
  if (args.bias_type == DType::kBFloat16) {
    normalize<Weight, BFloat16>(args, first_row, last_row);
  } else {
    normalize<Weight, float>(args, first_row, last_row);
  }
}

}  // namespace

void layer_norm(const LayerNormArgs& args, int64_t first_row, int64_t last_row) {
  if (args.weight_type == DType::kBFloat16) {
    normalize_with<BFloat16>(args, first_row, last_row);
  } else {
    normalize_with<float>(args, first_row, last_row);
  }
}

}  // namespace octet::kernels::OCTET_ISA
