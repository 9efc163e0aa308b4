#include "tests/kernels/oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace octet::kernels::oracle {

Sum dot(const float* input, const At& weight, int64_t n, int64_t depth) {
  Sum sum = {};
  for (int64_t k = 0; k < depth; ++k) {
    const double product = static_cast<double>(input[k]) * weight(n, k);
    sum.value += product;
    sum.magnitude += std::abs(product);
  }
  return sum;
}

std::vector<double> layer_norm(const float* input, int64_t hidden, const At& weight, const At& bias,
                               double epsilon) {
  double mean = 0;
  for (int64_t i = 0; i < hidden; ++i) mean += static_cast<double>(input[i]);
  mean /= static_cast<double>(hidden);
  double variance = 0;
  for (int64_t i = 0; i < hidden; ++i) variance += std::pow(static_cast<double>(input[i]) - mean, 2);
  variance /= static_cast<double>(hidden);
  std::vector<double> output;
  for (int64_t i = 0; i < hidden; ++i) {
    const double x = (static_cast<double>(input[i]) - mean) / std::sqrt(variance + epsilon);
    output.push_back(x * (weight(0, i) + 1) + bias(0, i));
  }
  return output;
}

std::vector<double> rotate(const float* input, int64_t head_dim, int64_t rotary_dim, int64_t position,
                           double theta) {
  std::vector<double> output(input, input + head_dim);
  const int64_t half = rotary_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double angle = static_cast<double>(position) *
                         std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
    const double first = static_cast<double>(input[i]);
    const double second = static_cast<double>(input[i + half]);
    output[static_cast<size_t>(i)] = first * std::cos(angle) - second * std::sin(angle);
    output[static_cast<size_t>(i + half)] = second * std::cos(angle) + first * std::sin(angle);
  }
  return output;
}

std::vector<double> attention(const float* query, const At& keys, const At& values, int64_t num_keys,
                              int64_t head_dim) {
  std::vector<double> scores;
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < num_keys; ++j) {
    scores.push_back(dot(query, keys, j, head_dim).value / std::sqrt(static_cast<double>(head_dim)));
    largest = std::max(largest, scores.back());
  }
  std::vector<double> output(static_cast<size_t>(head_dim));
  double denominator = 0;
  for (int64_t j = 0; j < num_keys; ++j) {
    const double weight = std::exp(scores[static_cast<size_t>(j)] - largest);
    denominator += weight;
    for (int64_t d = 0; d < head_dim; ++d) output[static_cast<size_t>(d)] += weight * values(j, d);
  }
  for (double& x : output) x /= denominator;
  return output;
}

}  // namespace octet::kernels::oracle
