#include "tools/gpu_check/check_ops.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <sstream>

#include "kernels/rotary_table.h"
#include "tests/kernels/oracle.h"
#include "tools/gpu_check/device_data.h"

namespace octet::gpu_check {
namespace {

using kernels::Backend;
using kernels::DType;
using kernels::Epilogue;

constexpr float kEpsilon = 1e-5f;
constexpr float kTheta = 10000.0f;

const char* text(DType type) {
  return type == DType::kBFloat16 ? "bf16" : "fp32";
}

// A row-major matrix of a tensor, for the oracle.
kernels::oracle::At matrix(const DeviceTensor& tensor, int64_t columns) {
  return [&tensor, columns](int64_t row, int64_t column) { return tensor.at(row * columns + column); };
}

class Checker {
 public:
  Checker(Backend& rank, uint64_t seed) : rank_(rank), random_(seed) {}

  void embedding(DType type);
  void layer_norm(DType type, int64_t rows, int64_t hidden);
  void linear(DType type, int64_t rows, int64_t columns, int64_t depth);
  void packed_linear(int64_t rows, int64_t columns, int64_t depth);
  void rows();
  void sample(int64_t vocab_size);
  void rotary(DType cache_type);
  void attention(DType cache_type, int64_t head_dim, int64_t group, int64_t start, int64_t count);

  std::vector<CheckResult> take() { return std::move(results_); }

 private:
  DeviceTensor random(DType type, std::initializer_list<int64_t> sizes, float low = -1, float high = 1) {
    return DeviceTensor::random(rank_, random_, type, sizes, low, high);
  }
  DeviceTensor poisoned(std::initializer_list<int64_t> sizes) {
    return DeviceTensor::poisoned(rank_, DType::kFloat32, sizes);
  }

  // Each output within tolerance + relative * |expected| of it.
  void expect(const std::string& name, const std::vector<float>& output, const std::vector<double>& expected,
              double tolerance, double relative = 0) {
    CheckResult result = {name, ""};
    for (size_t i = 0; i < expected.size() && result.problem.empty(); ++i) {
      const double difference = std::abs(static_cast<double>(output[i]) - expected[i]);
      if (difference <= tolerance + relative * std::abs(expected[i])) continue;  // not so of a NaN
      std::ostringstream problem;
      problem << "element " << i << " is " << output[i] << ", expected " << expected[i];
      result.problem = problem.str();
    }
    results_.push_back(result);
  }

  Backend& rank_;
  Random random_;
  std::vector<CheckResult> results_;
};

void Checker::embedding(DType type) {
  constexpr int64_t kVocab = 50, kHidden = 700;
  constexpr int32_t kFirst = 10;
  const DeviceTensor table = random(type, {kVocab, kHidden});
  const std::vector<int32_t> tokens = {10, 59, 9, 60, 33};
  const DeviceTensor output = poisoned({5, kHidden});
  rank_.embedding(output.tensor(), tokens, table.tensor(), kFirst);
  std::vector<double> expected;
  for (const int32_t token : tokens) {
    const bool is_here = token >= kFirst && token < kFirst + kVocab;
    for (int64_t i = 0; i < kHidden; ++i)
      expected.push_back(is_here ? table.at((token - kFirst) * kHidden + i) : 0);
  }
  expect(std::string("embedding ") + text(type), output.download(), expected, 0);
}

void Checker::layer_norm(DType type, int64_t rows, int64_t hidden) {
  const DeviceTensor input = random(DType::kFloat32, {rows, hidden}, -2, 3);
  const DeviceTensor weight = random(type, {hidden}), bias = random(type, {hidden});
  const DeviceTensor output = poisoned({rows, hidden}), sum_output = poisoned({rows, hidden});
  const DeviceTensor residual = random(DType::kFloat32, {rows, hidden});
  rank_.layer_norm(output.tensor(), input.tensor(), weight.tensor(), bias.tensor(), kEpsilon);
  rank_.add_and_layer_norm(sum_output.tensor(), residual.tensor(), input.tensor(), weight.tensor(),
                           bias.tensor(), kEpsilon);
  std::vector<double> expected, expected_sum, expected_of_sum;
  std::vector<float> sum(input.values());
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += residual.values()[i];
  for (const float x : sum) expected_sum.push_back(static_cast<double>(x));
  for (int64_t t = 0; t < rows; ++t) {
    const auto append = [&](std::vector<double>& to, const std::vector<float>& from) {
      const std::vector<double> row = kernels::oracle::layer_norm(
          from.data() + t * hidden, hidden, matrix(weight, hidden), matrix(bias, hidden), kEpsilon);
      to.insert(to.end(), row.begin(), row.end());
    };
    append(expected, input.values());
    append(expected_of_sum, sum);
  }
  const std::string shape =
      std::string(text(type)) + " " + std::to_string(rows) + " x " + std::to_string(hidden);
  expect("layer_norm " + shape, output.download(), expected, 2e-5, 1e-5);
  expect("add_and_layer_norm " + shape, sum_output.download(), expected_of_sum, 2e-5, 1e-5);
  expect("residual of add_and_layer_norm " + shape, residual.download(), expected_sum, 0);
}

// What a linear layer makes of a dot product; its error grows with the magnitude of the addends.
void Checker::linear(DType type, int64_t rows, int64_t columns, int64_t depth) {
  const DeviceTensor input = random(DType::kFloat32, {rows, depth}), weight = random(type, {columns, depth});
  for (const Epilogue epilogue : {Epilogue::kNone, Epilogue::kSquaredRelu}) {
    const DeviceTensor output = poisoned({rows, columns});
    rank_.linear(output.tensor(), input.tensor(), weight.tensor(), epilogue);
    std::vector<double> expected;
    for (int64_t t = 0; t < rows; ++t) {
      for (int64_t n = 0; n < columns; ++n) {
        double x =
            kernels::oracle::dot(input.values().data() + t * depth, matrix(weight, depth), n, depth).value;
        if (epilogue == Epilogue::kSquaredRelu) x = x > 0 ? x * x : 0;
        expected.push_back(x);
      }
    }
    expect(std::string("linear ") + text(type) + " " + std::to_string(rows) + " x " +
               std::to_string(columns) + " x " + std::to_string(depth) +
               (epilogue == Epilogue::kNone ? "" : " squared ReLU"),
           output.download(), expected, 1e-6 * static_cast<double>(depth), 1e-4);
  }
}

void Checker::packed_linear(int64_t rows, int64_t columns, int64_t depth) {
  // Inputs that are bf16, so that rounding them changes nothing.
  const DeviceTensor rounded = random(DType::kBFloat16, {rows, depth});
  const DeviceTensor input(rank_, DType::kFloat32, {rows, depth}, rounded.values());
  std::vector<float> weight =
      DeviceTensor::random(rank_, random_, DType::kBFloat16, {columns, depth}).values();
  const auto packed = rank_.pack(kernels::WeightFormat::kBFloat16,
                                 kernels::Tensor(weight.data(), DType::kFloat32, {columns, depth}));
  const std::string name = "packed linear " + std::to_string(rows) + " x " + std::to_string(columns) + " x " +
                           std::to_string(depth);
  if (!packed) {
    results_.push_back({name, "no memory for the weight"});
    return;
  }
  const DeviceTensor output = poisoned({rows, columns});
  rank_.linear(output.tensor(), input.tensor(), *packed);
  std::vector<double> expected;
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t n = 0; n < columns; ++n) {
      const auto at = [&](int64_t row, int64_t k) {
        return static_cast<double>(weight[static_cast<size_t>(row * depth + k)]);
      };
      expected.push_back(kernels::oracle::dot(input.values().data() + t * depth, at, n, depth).value);
    }
  }
  expect(name, output.download(), expected, 1e-6 * static_cast<double>(depth));
}

void Checker::rows() {
  constexpr int64_t kRows = 7, kHidden = 300;
  const DeviceTensor input = random(DType::kFloat32, {kRows, kHidden});
  const DeviceTensor sum = random(DType::kFloat32, {kRows, kHidden});
  const std::vector<int32_t> chosen = {6, 0, 3};
  const DeviceTensor gathered = poisoned({3, kHidden});
  rank_.gather_rows(gathered.tensor(), input.tensor(), chosen);
  rank_.add(sum.tensor(), input.tensor());
  std::vector<double> expected, expected_sum;
  for (const int32_t row : chosen) {
    for (int64_t i = 0; i < kHidden; ++i) expected.push_back(input.at(row * kHidden + i));
  }
  for (size_t i = 0; i < sum.values().size(); ++i) {
    expected_sum.push_back(static_cast<double>(sum.values()[i] + input.values()[i]));
  }
  expect("gather_rows", gathered.download(), expected, 0);
  expect("add", sum.download(), expected_sum, 0);
}

// A greedy row, one with all filters, edits and a mask, and a scored one.
void Checker::sample(int64_t vocab_size) {
  const DeviceTensor logits = random(DType::kFloat32, {3, vocab_size}, -8, 8);
  std::vector<kernels::LogitEdit> edits = {{.token = 0, .bias = 9, .penalized = true, .num_generated = 3}};
  if (vocab_size > 1) edits.push_back({.token = static_cast<uint32_t>(vocab_size - 1), .bias = -INFINITY});
  std::vector<uint32_t> allowed(static_cast<size_t>((vocab_size + 31) / 32));
  for (uint32_t& word : allowed) word = static_cast<uint32_t>(random_.integer(0, INT32_MAX)) << 1 | 1;
  kernels::SampleRow rows[3];
  rows[0].temperature = 0;
  rows[1].temperature = 0.7f;
  rows[1].top_k = 200;
  rows[1].top_p = 0.9f;
  rows[1].min_p = 0.001f;
  rows[1].edits = edits;
  rows[1].allowed = allowed;
  rows[1].seed = static_cast<uint64_t>(random_.integer(0, INT32_MAX));
  rows[1].frequency_penalty = 0.5f;
  rows[2].scored_token = static_cast<uint32_t>(vocab_size / 2);
  for (kernels::SampleRow& row : rows) row.num_top = kernels::kMaxTopTokens;
  kernels::SampledToken results[3];
  rank_.sample(logits.tensor(), rows, results);
  std::vector<float> tokens, scores;
  std::vector<double> expected_tokens, expected_scores;
  for (size_t t = 0; t < 3; ++t) {
    const auto raw = std::span(logits.values())
                         .subspan(t * static_cast<size_t>(vocab_size), static_cast<size_t>(vocab_size));
    const std::vector<double> logprobs = kernels::oracle::logprobs(raw);
    const std::vector<uint32_t> ranking = kernels::oracle::ranking(logprobs);
    const uint32_t token =
        rows[t].scored_token ? *rows[t].scored_token : kernels::oracle::choose(raw, rows[t]);
    tokens.push_back(static_cast<float>(results[t].token));
    expected_tokens.push_back(token);
    scores.push_back(results[t].logprob);
    expected_scores.push_back(logprobs[token]);
    for (size_t i = 0; i < std::min<size_t>(kernels::kMaxTopTokens, ranking.size()); ++i) {
      tokens.push_back(static_cast<float>(results[t].top_tokens[i]));
      expected_tokens.push_back(ranking[i]);
      scores.push_back(results[t].top_logprobs[i]);
      expected_scores.push_back(logprobs[ranking[i]]);
    }
  }
  const std::string name = "sample of " + std::to_string(vocab_size) + " tokens";
  expect(name + ", tokens", tokens, expected_tokens, 0);
  expect(name + ", log-probabilities", scores, expected_scores, 1e-5);
}

void Checker::rotary(DType cache_type) {
  constexpr int64_t kHeads = 6, kKvHeads = 2, kHeadDim = 192, kRotaryDim = 96, kBlocks = 3, kBlockSize = 4;
  const std::vector<int32_t> positions = {0, 5, 4000}, slots = {0, 9, 11};
  const DeviceTensor query = random(DType::kFloat32, {3, kHeads, kHeadDim});
  const DeviceTensor key = random(DType::kFloat32, {3, kKvHeads, kHeadDim});
  const DeviceTensor value = random(DType::kFloat32, {3, kKvHeads, kHeadDim});
  const auto cache = [&] {
    return DeviceTensor::poisoned(rank_, cache_type, {kBlocks, kBlockSize, kKvHeads, kHeadDim});
  };
  const DeviceTensor keys = cache(), values = cache();
  const kernels::RotaryTable table = kernels::make_rotary_table(rank_, 4096, kRotaryDim, kTheta);
  rank_.rotary_and_kv_write(query.tensor(), key.tensor(), value.tensor(), positions, slots, table,
                            {keys.tensor(), values.tensor()});
  std::vector<double> expected_query, expected_keys, expected_values;
  std::vector<float> found_keys, found_values;
  const std::vector<float> all_keys = keys.download(), all_values = values.download();
  for (size_t t = 0; t < positions.size(); ++t) {
    const auto rotate = [&](const DeviceTensor& from, int64_t head, std::vector<double>& to) {
      const std::vector<double> rotated = kernels::oracle::rotate(from.values().data() + head * kHeadDim,
                                                                  kHeadDim, kRotaryDim, positions[t], kTheta);
      to.insert(to.end(), rotated.begin(), rotated.end());
    };
    const auto row = static_cast<int64_t>(t);
    for (int64_t h = 0; h < kHeads; ++h) rotate(query, row * kHeads + h, expected_query);
    for (int64_t h = 0; h < kKvHeads; ++h) {
      rotate(key, row * kKvHeads + h, expected_keys);
      for (int64_t d = 0; d < kHeadDim; ++d) {
        expected_values.push_back(value.at((row * kKvHeads + h) * kHeadDim + d));
        const auto place = static_cast<size_t>((slots[t] * kKvHeads + h) * kHeadDim + d);
        found_keys.push_back(all_keys[place]);
        found_values.push_back(all_values[place]);
      }
    }
  }
  // Angles of position 4,000 are off by 2^-12 in fp32, as those of transformers are.
  const double relative = cache_type == DType::kBFloat16 ? 4e-3 : 0;
  const std::string name = std::string("rotary_and_kv_write ") + text(cache_type);
  expect(name + ", queries", query.download(), expected_query, 1e-3);
  expect(name + ", keys", found_keys, expected_keys, 1e-3, relative);
  expect(name + ", values", found_values, expected_values, 0, relative);
}

void Checker::attention(DType cache_type, int64_t head_dim, int64_t group, int64_t start, int64_t count) {
  constexpr int64_t kBlockSize = 16;
  const int64_t num_keys = start + count;
  const int64_t num_blocks = (num_keys + kBlockSize - 1) / kBlockSize;
  std::vector<int32_t> blocks(static_cast<size_t>(num_blocks));
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<int32_t>(blocks.size() - 1 - i);
  // Slots past the last position are NaN.
  const auto slot = [&](int64_t j) {
    return int64_t{blocks[static_cast<size_t>(j / kBlockSize)]} * kBlockSize + j % kBlockSize;
  };
  const auto cache = [&] {
    std::vector<float> values(static_cast<size_t>(num_blocks * kBlockSize * head_dim), NAN);
    for (int64_t j = 0; j < num_keys; ++j) {
      for (int64_t d = 0; d < head_dim; ++d) {
        values[static_cast<size_t>(slot(j) * head_dim + d)] = random_.uniform(-1, 1);
      }
    }
    return DeviceTensor(rank_, cache_type, {num_blocks, kBlockSize, 1, head_dim}, std::move(values));
  };
  const DeviceTensor keys = cache(), values = cache();
  const DeviceTensor rounded = random(cache_type, {count, group, head_dim}, -3, 3);
  const DeviceTensor query(rank_, DType::kFloat32, {count, group, head_dim}, rounded.values());
  const DeviceTensor output = poisoned({count, group, head_dim});
  const kernels::AttentionChunk chunk = {.first_row = 0,
                                         .num_rows = static_cast<int32_t>(count),
                                         .start_position = static_cast<int32_t>(start),
                                         .block_table = blocks};
  rank_.paged_attention(output.tensor(), query.tensor(), {keys.tensor(), values.tensor()}, {&chunk, 1});
  std::vector<double> expected;
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t h = 0; h < group; ++h) {
      const auto of = [&](const DeviceTensor& data) {
        return [&](int64_t j, int64_t d) { return data.at(slot(j) * head_dim + d); };
      };
      const std::vector<double> row = kernels::oracle::attention(
          query.values().data() + (t * group + h) * head_dim, of(keys), of(values), start + t + 1, head_dim);
      expected.insert(expected.end(), row.begin(), row.end());
    }
  }
  expect(std::string("paged_attention ") + text(cache_type) + " head_dim " + std::to_string(head_dim) + ", " +
             std::to_string(group) + " heads, " + std::to_string(count) + " rows from " +
             std::to_string(start),
         output.download(), expected, cache_type == DType::kBFloat16 ? 2e-3 : 5e-6);
}

}  // namespace

std::vector<CheckResult> check_ops(Backend& rank, uint64_t seed, const std::vector<int64_t>& head_dims) {
  Checker checker(rank, seed);
  for (const DType type : {DType::kBFloat16, DType::kFloat32}) {
    checker.embedding(type);
    checker.layer_norm(type, 1, 1);
    checker.layer_norm(type, 3, 1537);
    checker.linear(type, 1, 1, 1);
    checker.linear(type, 5, 33, 130);
    checker.rotary(type);
    for (const int64_t head_dim : head_dims) {
      checker.attention(type, head_dim, 12, 0, 1);
      checker.attention(type, head_dim, 12, 600, 1);
      checker.attention(type, head_dim, 12, 500, 30);
      checker.attention(type, head_dim, 1, 0, 70);
    }
  }
  checker.packed_linear(1, 1, 8);
  checker.packed_linear(1, 130, 96);
  checker.packed_linear(65, 48, 512);
  checker.rows();
  checker.sample(1);
  checker.sample(5003);
  return checker.take();
}

}  // namespace octet::gpu_check
