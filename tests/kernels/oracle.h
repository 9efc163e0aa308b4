// The ops in float64, written the plainest way: what the backends are compared with. Shapes as in
// kernels/backend.h.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/sample_row.h"

namespace octet::kernels::oracle {

// An element of a matrix by row and column.
using At = std::function<double(int64_t row, int64_t column)>;

struct Sum {
  double value;
  double magnitude;  // the sum of the addends' absolute values, for error bounds
};

// sum_k input[k] * weight(n, k)
Sum dot(const float* input, const At& weight, int64_t n, int64_t depth);

// One row of LayerNorm1P. weight, bias: of column i, as (0, i).
std::vector<double> layer_norm(const float* input, int64_t hidden, const At& weight, const At& bias,
                               double epsilon);

// One head's vector at a position, its first rotary_dim dimensions rotated.
std::vector<double> rotate(const float* input, int64_t head_dim, int64_t rotary_dim, int64_t position,
                           double theta);

// One query head over keys(j, d) and values(j, d), j < num_keys.
std::vector<double> attention(const float* query, const At& keys, const At& values, int64_t num_keys,
                              int64_t head_dim);

// All ids, the largest value first, equal ones by rising id.
std::vector<uint32_t> ranking(const std::vector<double>& values);

// log-softmax.
std::vector<double> logprobs(std::span<const float> logits);

// A row's logits after edits and bans, which are minus infinity. Rounded to fp32 where sample_row.h says so.
std::vector<double> edited_logits(std::span<const float> raw, const SampleRow& row);

// Of edited logits after temperature, top_k, min_p and top_p; 0 for a token filtered out.
std::vector<double> probabilities(std::vector<double> logits, const SampleRow& row);

// The token at which the probabilities, in order of ids, first sum to more than `draw`.
uint32_t pick(const std::vector<double>& probabilities, double draw);

// The token that the row chooses.
uint32_t choose(std::span<const float> raw, const SampleRow& row);

}  // namespace octet::kernels::oracle
