// The ops in float64, written the plainest way: what the backends are compared with. Shapes as in
// kernels/backend.h.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

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

}  // namespace octet::kernels::oracle
