#include "tests/kernels/oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/philox.h"

namespace octet::kernels::oracle {
namespace {

constexpr double kBanned = -std::numeric_limits<double>::infinity();

std::vector<double> softmax(const std::vector<double>& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> result;
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - largest);
  for (const double logit : logits) result.push_back(std::exp(logit - largest) / sum);
  return result;
}

}  // namespace

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

std::vector<uint32_t> ranking(const std::vector<double>& values) {
  std::vector<uint32_t> ids(values.size());
  std::iota(ids.begin(), ids.end(), 0u);
  std::stable_sort(ids.begin(), ids.end(), [&](uint32_t a, uint32_t b) { return values[a] > values[b]; });
  return ids;
}

std::vector<double> logprobs(std::span<const float> logits) {
  std::vector<double> result(logits.begin(), logits.end());
  double sum = 0;
  const double largest = *std::max_element(result.begin(), result.end());
  for (const double logit : result) sum += std::exp(logit - largest);
  for (double& logit : result) logit -= largest + std::log(sum);
  return result;
}

std::vector<double> edited_logits(std::span<const float> raw, const SampleRow& row) {
  std::vector<double> logits(raw.begin(), raw.end());
  const auto rounded = [](double x) {
    constexpr double kMax = std::numeric_limits<float>::max();
    return x == kBanned ? x : static_cast<double>(static_cast<float>(std::clamp(x, -kMax, kMax)));
  };
  for (const LogitEdit& edit : row.edits) {
    double& x = logits[edit.token];
    x = rounded(x + static_cast<double>(edit.bias));
    if (!edit.penalized) continue;
    const double penalty = row.repetition_penalty;
    x = row.always_divides || x > 0 ? x / penalty : x * penalty;
    const double n = edit.num_generated;
    x -= static_cast<double>(row.frequency_penalty) * n +
         (n > 0 ? static_cast<double>(row.presence_penalty) : 0);
    x = rounded(x);
  }
  for (size_t i = 0; i < logits.size() && !row.allowed.empty(); ++i) {
    if ((row.allowed[i / 32] >> (i % 32) & 1) == 0) logits[i] = kBanned;
  }
  return logits;
}

std::vector<double> probabilities(std::vector<double> logits, const SampleRow& row) {
  for (double& logit : logits) logit /= static_cast<double>(row.temperature);
  std::vector<double> result = softmax(logits);
  const double largest = *std::max_element(result.begin(), result.end());
  for (size_t i = 0; i < logits.size(); ++i) {
    if (result[i] < static_cast<double>(row.min_p) * largest) logits[i] = kBanned;
  }
  const std::vector<uint32_t> ranks = ranking(logits);
  if (row.top_k > 0) {
    for (size_t rank = row.top_k; rank < ranks.size(); ++rank) logits[ranks[rank]] = kBanned;
  }
  result = softmax(logits);
  if (row.top_p < 1) {
    double sum = 0;
    for (const uint32_t id : ranks) {
      if (sum >= static_cast<double>(row.top_p)) logits[id] = kBanned;
      sum += result[id];
    }
  }
  return softmax(logits);
}

uint32_t pick(const std::vector<double>& probabilities, double draw) {
  double sum = 0;
  uint32_t last = 0;
  for (uint32_t id = 0; id < probabilities.size(); ++id) {
    if (probabilities[id] == 0) continue;
    last = id;
    sum += probabilities[id];
    if (sum > draw) break;
  }
  return last;
}

uint32_t choose(std::span<const float> raw, const SampleRow& row) {
  const std::vector<double> logits = edited_logits(raw, row);
  const uint32_t best = ranking(logits).front();
  if (logits[best] == kBanned) {
    SampleRow unedited = row;
    unedited.edits = {};
    const std::vector<double> allowed = edited_logits(raw, unedited);
    const uint32_t likeliest = ranking(allowed).front();
    return allowed[likeliest] == kBanned ? ranking({raw.begin(), raw.end()}).front() : likeliest;
  }
  if (row.temperature == 0) return best;
  return pick(probabilities(logits, row), uniform_draw(row.seed, row.choice_index, row.position));
}

}  // namespace octet::kernels::oracle
