#include "tools/gpu_check/synthetic_rank.h"

#include <algorithm>
#include <bit>
#include <random>

#include "kernels/rotary_table.h"

namespace octet::gpu_check {
namespace {

using kernels::DType;
using kernels::Epilogue;
using kernels::PackedWeight;
using kernels::Tensor;

constexpr int64_t kMaxPositions = 4096;
constexpr float kEpsilon = 1e-5f;

}  // namespace

std::optional<SyntheticRank> SyntheticRank::create(kernels::Backend& rank, const RankShape& shape,
                                                   kernels::WeightFormat format, int64_t max_rows,
                                                   int64_t max_tokens) {
  SyntheticRank synthetic(rank, shape, format);
  if (!synthetic.allocate(max_rows, max_tokens)) return std::nullopt;
  return synthetic;
}

int64_t SyntheticRank::num_parameters() const {
  return shape_->num_layers * shape_->layer_parameters();
}

int64_t SyntheticRank::weight_bytes() const {
  int64_t num_bytes = 0;
  for (const Layer& layer : layers_) {
    for (const PackedWeight* const weight :
         {&layer.query, &layer.key, &layer.value, &layer.output, &layer.up, &layer.down}) {
      num_bytes += weight->num_bytes;
    }
  }
  return num_bytes;
}

int64_t SyntheticRank::kv_bytes_of_token() const {
  return shape_->num_layers * 2 * shape_->num_kv_heads * shape_->head_dim * size_of(DType::kBFloat16);
}

// bf16 between -1/16 and 1/16, or fp8 below 2, the same few megabytes again and again: zeros would need less
// power than numbers.
std::unique_ptr<kernels::Buffer> SyntheticRank::random_buffer(DType type, int64_t num_bytes) {
  static const std::vector<uint16_t> bfloat16s = [] {
    std::mt19937 random(11);
    std::vector<uint16_t> values(size_t{4} << 20);
    for (uint16_t& x : values) {
      const float value = (static_cast<float>(random() >> 8) * 0x1p-24f - 0.5f) / 8;
      x = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
    }
    return values;
  }();
  // Without the highest bit of the exponent there is no NaN, neither in fp8 nor in the fp32 of its scales.
  static const std::vector<uint16_t> float8s = [] {
    std::mt19937 random(12);
    std::vector<uint16_t> values(bfloat16s.size());
    for (uint16_t& x : values) x = static_cast<uint16_t>(random() & 0xbfbf);
    return values;
  }();
  const std::vector<uint16_t>& pattern = type == DType::kFloat8E4M3 ? float8s : bfloat16s;
  std::unique_ptr<kernels::Buffer> buffer = rank_->allocate(num_bytes);
  if (buffer == nullptr) return nullptr;
  const auto pattern_bytes = static_cast<int64_t>(pattern.size() * sizeof(uint16_t));
  for (int64_t done = 0; done < num_bytes; done += pattern_bytes) {
    rank_->upload(static_cast<char*>(buffer->data()) + done, pattern.data(),
                  std::min(pattern_bytes, num_bytes - done));
  }
  return buffer;
}

// Without memory where the device has none.
PackedWeight SyntheticRank::random_weight(int64_t num_columns, int64_t depth) {
  const DType type = format_ == kernels::WeightFormat::kFloat8 ? DType::kFloat8E4M3 : DType::kBFloat16;
  const int64_t num_bytes = rank_->packed_bytes(format_, num_columns, depth);
  return {format_, num_columns, depth, num_bytes, random_buffer(type, num_bytes)};
}

bool SyntheticRank::allocate(int64_t max_rows, int64_t max_tokens) {
  const RankShape& s = *shape_;
  const int64_t query_size = s.num_heads * s.head_dim;
  const int64_t kv_size = s.num_kv_heads * s.head_dim;
  const std::pair<std::unique_ptr<kernels::Buffer>*, int64_t> activations[] = {
      {&hidden_, max_rows * s.hidden_size},    {&normed_, max_rows * s.hidden_size},
      {&query_, max_rows * query_size},        {&key_, max_rows * kv_size},
      {&value_, max_rows * kv_size},           {&attention_, max_rows * query_size},
      {&projected_, max_rows * s.hidden_size}, {&up_, max_rows * s.intermediate_size},
      {&norm_weight_, s.hidden_size}};
  for (const auto& [buffer, num_elements] : activations) {
    *buffer = rank_->allocate(num_elements * size_of(DType::kFloat32));
    if (*buffer == nullptr) return false;
  }
  rotary_ = kernels::make_rotary_table(*rank_, kMaxPositions, s.head_dim / 2, 10000.0f);
  if (rotary_.storage == nullptr) return false;
  // Logits between -1/16 and 1/16.
  logits_ =
      random_buffer(DType::kFloat32, s.sampled_batches.back() * s.vocab_size * size_of(DType::kFloat32));
  bool has_memory = logits_ != nullptr;
  const auto weight = [&](int64_t num_columns, int64_t depth) {
    PackedWeight packed = random_weight(num_columns, depth);
    has_memory = has_memory && packed.storage != nullptr;
    return packed;
  };
  for (int64_t i = 0; i < s.num_layers && has_memory; ++i) {
    Layer& layer = layers_.emplace_back();
    layer.query = weight(query_size, s.hidden_size);
    layer.key = weight(kv_size, s.hidden_size);
    layer.value = weight(kv_size, s.hidden_size);
    layer.output = weight(s.hidden_size, query_size);
    layer.up = weight(s.intermediate_size, s.hidden_size);
    layer.down = weight(s.hidden_size, s.intermediate_size);
  }
  if (!has_memory) return false;
  const int64_t free_bytes = rank_->memory()->free_bytes - rank_->memory()->total_bytes / 32;
  const int64_t tokens = std::min(max_tokens, free_bytes / kv_bytes_of_token());
  num_blocks_ = tokens / kBlockSize;
  for (Layer& layer : layers_) {
    const int64_t num_bytes = num_blocks_ * kBlockSize * kv_size * size_of(DType::kBFloat16);
    for (Tensor* const part : {&layer.kv.keys, &layer.kv.values}) {
      layer.storage.push_back(random_buffer(DType::kBFloat16, num_bytes));
      if (layer.storage.back() == nullptr) return false;
      *part = Tensor(layer.storage.back()->data(), DType::kBFloat16,
                     {num_blocks_, kBlockSize, s.num_kv_heads, s.head_dim});
    }
  }
  return num_blocks_ > 0;
}

// Sequences of `context` tokens, each with blocks of its own.
SyntheticRank::Input SyntheticRank::decodes(int64_t batch, int64_t context) const {
  Input input;
  const int64_t blocks_of_sequence = (context + kBlockSize - 1) / kBlockSize;
  for (int64_t i = 0; i < batch; ++i) {
    std::vector<int32_t>& table = input.tables.emplace_back();
    for (int64_t b = 0; b < blocks_of_sequence; ++b) {
      table.push_back(static_cast<int32_t>(b * batch + i));  // as blocks lie that were taken in turns
    }
    input.positions.push_back(static_cast<int32_t>(context - 1));
    input.slots.push_back(table.back() * static_cast<int32_t>(kBlockSize) +
                          static_cast<int32_t>((context - 1) % kBlockSize));
  }
  for (int64_t i = 0; i < batch; ++i) {
    input.chunks.push_back({.first_row = static_cast<int32_t>(i),
                            .num_rows = 1,
                            .start_position = static_cast<int32_t>(context - 1),
                            .block_table = input.tables[static_cast<size_t>(i)]});
  }
  return input;
}

SyntheticRank::Input SyntheticRank::chunk(int64_t num_rows) const {
  Input input;
  std::vector<int32_t>& table = input.tables.emplace_back();
  for (int32_t b = 0; b < (num_rows + kBlockSize - 1) / kBlockSize; ++b) table.push_back(b);
  for (int32_t i = 0; i < num_rows; ++i) {
    input.positions.push_back(i);
    input.slots.push_back(i);
  }
  input.chunks.push_back({.first_row = 0,
                          .num_rows = static_cast<int32_t>(num_rows),
                          .start_position = 0,
                          .block_table = input.tables.front()});
  return input;
}

Tensor SyntheticRank::activation(const std::unique_ptr<kernels::Buffer>& buffer, int64_t rows,
                                 int64_t columns) const {
  return Tensor(buffer->data(), DType::kFloat32, {rows, columns});
}
Tensor SyntheticRank::heads(const std::unique_ptr<kernels::Buffer>& buffer, int64_t rows,
                            int64_t num_heads) const {
  return Tensor(buffer->data(), DType::kFloat32, {rows, num_heads, shape_->head_dim});
}

void SyntheticRank::run(const Input& input) {
  const auto rows = static_cast<int64_t>(input.positions.size());
  const RankShape& s = *shape_;
  const Tensor weight(norm_weight_->data(), DType::kFloat32, {s.hidden_size});
  const Tensor residual = activation(hidden_, rows, s.hidden_size);
  const Tensor normed = activation(normed_, rows, s.hidden_size);
  const Tensor projected = activation(projected_, rows, s.hidden_size);
  for (const Layer& layer : layers_) {
    rank_->add_and_layer_norm(normed, residual, projected, weight, weight, kEpsilon);
    rank_->linear(activation(query_, rows, s.num_heads * s.head_dim), normed, layer.query);
    rank_->linear(activation(key_, rows, s.num_kv_heads * s.head_dim), normed, layer.key);
    rank_->linear(activation(value_, rows, s.num_kv_heads * s.head_dim), normed, layer.value);
    rank_->rotary_and_kv_write(heads(query_, rows, s.num_heads), heads(key_, rows, s.num_kv_heads),
                               heads(value_, rows, s.num_kv_heads), input.positions, input.slots, rotary_,
                               layer.kv);
    rank_->paged_attention(heads(attention_, rows, s.num_heads), heads(query_, rows, s.num_heads), layer.kv,
                           input.chunks);
    rank_->linear(projected, activation(attention_, rows, s.num_heads * s.head_dim), layer.output);
    rank_->add_and_layer_norm(normed, residual, projected, weight, weight, kEpsilon);
    rank_->linear(activation(up_, rows, s.intermediate_size), normed, layer.up, Epilogue::kSquaredRelu);
    rank_->linear(projected, activation(up_, rows, s.intermediate_size), layer.down);
  }
  rank_->add(residual, projected);
}

void SyntheticRank::decode(int64_t batch, int64_t context) {
  run(decodes(batch, context));
}
void SyntheticRank::decode_by_graph(int64_t batch, int64_t context) {
  const Input input = decodes(batch, context);
  rank_->run_step([this, &input] { run(input); });
}
void SyntheticRank::prefill(int64_t num_rows) {
  run(chunk(num_rows));
}

void SyntheticRank::norm(int64_t rows) {
  const Tensor weight(norm_weight_->data(), DType::kFloat32, {shape_->hidden_size});
  rank_->add_and_layer_norm(activation(normed_, rows, shape_->hidden_size),
                            activation(hidden_, rows, shape_->hidden_size),
                            activation(projected_, rows, shape_->hidden_size), weight, weight, kEpsilon);
}
void SyntheticRank::rotary(int64_t rows) {
  const Input input = chunk(rows);
  rank_->rotary_and_kv_write(heads(query_, rows, shape_->num_heads), heads(key_, rows, shape_->num_kv_heads),
                             heads(value_, rows, shape_->num_kv_heads), input.positions, input.slots, rotary_,
                             layers_.front().kv);
}
void SyntheticRank::up_with_squared_relu(int64_t rows) {
  rank_->linear(activation(up_, rows, shape_->intermediate_size),
                activation(normed_, rows, shape_->hidden_size), layers_.front().up, Epilogue::kSquaredRelu);
}
void SyntheticRank::attend_decode(int64_t batch, int64_t context) {
  const Input input = decodes(batch, context);
  rank_->paged_attention(heads(attention_, batch, shape_->num_heads), heads(query_, batch, shape_->num_heads),
                         layers_.front().kv, input.chunks);
}
void SyntheticRank::attend_prefill(int64_t num_rows) {
  const Input input = chunk(num_rows);
  rank_->paged_attention(heads(attention_, num_rows, shape_->num_heads),
                         heads(query_, num_rows, shape_->num_heads), layers_.front().kv, input.chunks);
}
void SyntheticRank::sample(int64_t rows, const kernels::SampleRow& row) {
  std::vector<kernels::SampledToken> results(static_cast<size_t>(rows));
  rank_->sample(activation(logits_, rows, shape_->vocab_size), std::vector(results.size(), row), results);
}

}  // namespace octet::gpu_check
