#include "worker/model/rank_model.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "kernels/rotary_table.h"

namespace octet::worker {
namespace {

using kernels::Backend;
using kernels::Buffer;
using kernels::DType;
using kernels::Epilogue;
using kernels::KvLayer;
using kernels::Tensor;

// Rows whose logits are computed at once: a row of a 256,000-token vocabulary is a megabyte.
constexpr int64_t kMaxLogitRows = 64;

Tensor fp32(const std::unique_ptr<Buffer>& buffer, std::initializer_list<int64_t> sizes) {
  return Tensor(buffer->data(), DType::kFloat32, sizes);
}

int64_t kv_heads_of_rank(const ModelConfig& config, int num_ranks) {
  return std::max(config.num_kv_heads / num_ranks, 1);
}

// Keys, and as many values, of one layer's block on one rank.
int64_t block_elements(const ModelConfig& config, uint32_t block_size, int num_ranks) {
  return int64_t{block_size} * kv_heads_of_rank(config, num_ranks) * config.head_dim;
}

// Of each of RankModel::Activations, in their order.
using ActivationElements = std::array<int64_t, 10>;
ActivationElements activation_elements(const ModelConfig& config, const RankModelSizes& sizes, int num_ranks,
                                       bool has_head) {
  const int64_t rows = sizes.max_batch_tokens;
  const int64_t vocab = has_head ? config.vocab_size : 0;
  const int64_t query_size = int64_t{config.num_heads / num_ranks} * config.head_dim;
  const int64_t kv_size = kv_heads_of_rank(config, num_ranks) * config.head_dim;
  return {rows * config.hidden_size,                           // hidden
          std::max(rows, kMaxLogitRows) * config.hidden_size,  // normed
          rows * query_size,                                   // query
          rows * kv_size,                                      // key
          rows * kv_size,                                      // value
          rows * query_size,                                   // attention
          std::max(rows, kMaxLogitRows) * config.hidden_size,  // projected
          rows * config.intermediate_size / num_ranks,         // up
          kMaxLogitRows * vocab / num_ranks,                   // partial_logits
          num_ranks > 1 ? kMaxLogitRows * vocab : 0};          // logits
}

int64_t rotary_bytes(const ModelConfig& config) {
  return int64_t{config.max_model_len} * config.rotary_dim * size_of(DType::kFloat32);
}

}  // namespace

int64_t RankModel::activation_bytes(const ModelConfig& config, const RankModelSizes& sizes, int num_ranks,
                                    bool has_head) {
  int64_t num_elements = 0;
  for (const int64_t n : activation_elements(config, sizes, num_ranks, has_head)) num_elements += n;
  return num_elements * size_of(DType::kFloat32) + rotary_bytes(config);
}

int64_t RankModel::kv_block_bytes(const ModelConfig& config, LayerRange layers, uint32_t block_size,
                                  int num_ranks, DType kv_cache_type) {
  return 2 * layers.size() * block_elements(config, block_size, num_ranks) * size_of(kv_cache_type);
}

RankModel::RankModel(Backend& backend, const ModelConfig& config, RankWeights weights,
                     const RankModelSizes& sizes)
    : backend_(backend),
      config_(config),
      weights_(std::move(weights)),
      sizes_(sizes),
      num_heads_(config.num_heads / backend.num_ranks()),
      num_kv_heads_(kv_heads_of_rank(config, backend.num_ranks())) {}

absl::StatusOr<std::unique_ptr<RankModel>> RankModel::create(Backend& backend, const ModelConfig& config,
                                                             RankWeights weights,
                                                             const RankModelSizes& sizes) {
  std::unique_ptr<RankModel> model(new RankModel(backend, config, std::move(weights), sizes));
  if (const absl::Status status = model->allocate(); !status.ok()) return status;
  return model;
}

absl::Status RankModel::allocate() {
  const auto no_memory = [](std::string_view what, int64_t num_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for the ", std::string(what), " of one rank, ", num_bytes, " bytes"));
  };
  std::unique_ptr<Buffer>* const buffers[] = {
      &activations_.hidden,         &activations_.normed,    &activations_.query,     &activations_.key,
      &activations_.value,          &activations_.attention, &activations_.projected, &activations_.up,
      &activations_.partial_logits, &activations_.logits};
  const ActivationElements wanted =
      activation_elements(config_, sizes_, backend_.num_ranks(), weights_.head.has_value());
  for (size_t i = 0; i < wanted.size(); ++i) {
    const int64_t num_bytes = wanted[i] * size_of(DType::kFloat32);
    *buffers[i] = backend_.allocate(num_bytes);
    if (*buffers[i] == nullptr) return no_memory("activations", num_bytes);
  }

  rotary_ =
      kernels::make_rotary_table(backend_, config_.max_model_len, config_.rotary_dim, config_.rope_theta);
  if (rotary_.storage == nullptr) {
    return no_memory("rotary embedding", rotary_bytes(config_));
  }

  const int64_t kv_bytes = sizes_.num_blocks *
                           block_elements(config_, sizes_.block_size, backend_.num_ranks()) *
                           size_of(sizes_.kv_cache_type);
  const auto cache = [&](const std::unique_ptr<Buffer>& buffer) {
    return Tensor(buffer->data(), sizes_.kv_cache_type,
                  {sizes_.num_blocks, sizes_.block_size, num_kv_heads_, config_.head_dim});
  };
  for (size_t layer = 0; layer < weights_.layers.size(); ++layer) {
    auto keys = backend_.allocate(kv_bytes);
    auto values = backend_.allocate(kv_bytes);
    if (keys == nullptr || values == nullptr) return no_memory("KV cache of a layer", 2 * kv_bytes);
    kv_.push_back(KvLayer{cache(keys), cache(values)});
    kv_buffers_.push_back(std::move(keys));
    kv_buffers_.push_back(std::move(values));
  }
  return absl::OkStatus();
}

Tensor RankModel::hidden(int64_t num_rows) const {
  OCTET_CHECK(num_rows <= sizes_.max_batch_tokens, num_rows, " rows, limit ", sizes_.max_batch_tokens);
  return fp32(activations_.hidden, {num_rows, config_.hidden_size});
}

int64_t RankModel::share_size(int64_t num_rows) const {
  return num_rows * config_.hidden_size / backend_.num_ranks();
}

Tensor RankModel::outgoing(int64_t num_rows) const {
  const int64_t size = share_size(num_rows);
  return Tensor(hidden(num_rows).data<float>() + backend_.rank() * size, DType::kFloat32, {1, size});
}

// A share waits for the others in memory that the first norm will write.
Tensor RankModel::incoming(int64_t num_rows) const {
  const bool is_whole = backend_.num_ranks() == 1;
  void* const memory = is_whole ? hidden(num_rows).data<void>() : activations_.normed->data();
  return Tensor(memory, DType::kFloat32, {1, share_size(num_rows)});
}

void RankModel::gather_shares(int64_t num_rows) {
  if (backend_.num_ranks() == 1) return;
  const Tensor whole(hidden(num_rows).data<void>(), DType::kFloat32, {1, num_rows * config_.hidden_size});
  backend_.all_gather_columns(whole, incoming(num_rows));
}

void RankModel::forward(const ModelInput& input) {
  const auto is_decode = [](const kernels::AttentionChunk& chunk) { return chunk.num_rows == 1; };
  if (std::ranges::all_of(input.chunks, is_decode)) {
    backend_.run_step([this, &input] { run_layers(input); });
  } else {
    run_layers(input);
  }
}

// A residual add and the norm that reads its result are one pass, also from one layer to the next.
void RankModel::run_layers(const ModelInput& input) {
  const int64_t num_rows = input.num_rows();
  const Tensor residual = hidden(num_rows);
  if (weights_.embedding) {
    embed(input);
  } else {
    gather_shares(num_rows);
  }
  const Tensor normed = fp32(activations_.normed, {num_rows, config_.hidden_size});
  const Tensor projected = fp32(activations_.projected, {num_rows, config_.hidden_size});
  const auto add_and_norm = [&](const NormWeights& norm) {
    backend_.add_and_layer_norm(normed, residual, projected, norm.weight, norm.bias, config_.norm_epsilon);
  };
  const std::vector<LayerWeights>& layers = weights_.layers;
  if (layers.empty()) return;
  const NormWeights& first = layers.front().attention_norm;
  backend_.layer_norm(normed, residual, first.weight, first.bias, config_.norm_epsilon);
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    attend(layers[layer], kv_[layer], input);
    add_and_norm(layers[layer].mlp_norm);
    feed_forward(layers[layer], num_rows);
    if (layer + 1 < layers.size()) add_and_norm(layers[layer + 1].attention_norm);
  }
  backend_.add(residual, projected);
}

void RankModel::linear(Tensor output, Tensor input, const LinearWeight& weight, Epilogue epilogue) {
  std::visit([&](const auto& form) { backend_.linear(output, input, form, epilogue); }, weight);
}

void RankModel::embed(const ModelInput& input) {
  const Tensor table = *weights_.embedding;
  const auto first_token = static_cast<int32_t>(backend_.rank() * table.size(0));
  const Tensor residual = hidden(input.num_rows());
  backend_.embedding(residual, input.tokens, table, first_token);
  backend_.all_reduce(residual);  // each row is zero on all ranks but one
}

// projected = output(attention(normed))
void RankModel::attend(const LayerWeights& weights, const KvLayer& kv, const ModelInput& input) {
  const int64_t num_rows = input.num_rows();
  const int64_t head_dim = config_.head_dim;
  const Tensor normed = fp32(activations_.normed, {num_rows, config_.hidden_size});
  linear(fp32(activations_.query, {num_rows, num_heads_ * head_dim}), normed, weights.query);
  linear(fp32(activations_.key, {num_rows, num_kv_heads_ * head_dim}), normed, weights.key);
  linear(fp32(activations_.value, {num_rows, num_kv_heads_ * head_dim}), normed, weights.value);

  const Tensor query = fp32(activations_.query, {num_rows, num_heads_, head_dim});
  backend_.rotary_and_kv_write(query, fp32(activations_.key, {num_rows, num_kv_heads_, head_dim}),
                               fp32(activations_.value, {num_rows, num_kv_heads_, head_dim}), input.positions,
                               input.slots, rotary_, kv);
  backend_.paged_attention(fp32(activations_.attention, {num_rows, num_heads_, head_dim}), query, kv,
                           input.chunks);

  const Tensor projected = fp32(activations_.projected, {num_rows, config_.hidden_size});
  linear(projected, fp32(activations_.attention, {num_rows, num_heads_ * head_dim}), weights.output);
  backend_.all_reduce(projected);
}

// projected = down(squared_relu(up(normed)))
void RankModel::feed_forward(const LayerWeights& weights, int64_t num_rows) {
  const Tensor normed = fp32(activations_.normed, {num_rows, config_.hidden_size});
  const Tensor up = fp32(activations_.up, {num_rows, num_outputs(weights.up)});
  linear(up, normed, weights.up, Epilogue::kSquaredRelu);
  const Tensor projected = fp32(activations_.projected, {num_rows, config_.hidden_size});
  linear(projected, up, weights.down);
  backend_.all_reduce(projected);
}

void RankModel::compute_logits(const ModelInput& input, const LogitsUser& use) {
  OCTET_CHECK(weights_.head.has_value(), "logits are computed on the last stage only");
  const HeadWeights& head = *weights_.head;
  const std::span<const int32_t> all_rows(input.logit_rows);
  const auto num_logit_rows = static_cast<int64_t>(all_rows.size());
  for (int64_t first = 0; first < num_logit_rows; first += kMaxLogitRows) {
    const int64_t count = std::min(kMaxLogitRows, num_logit_rows - first);
    const Tensor gathered = fp32(activations_.projected, {count, config_.hidden_size});
    backend_.gather_rows(gathered, hidden(input.num_rows()),
                         all_rows.subspan(static_cast<size_t>(first), static_cast<size_t>(count)));
    const Tensor normed = fp32(activations_.normed, {count, config_.hidden_size});
    backend_.layer_norm(normed, gathered, head.norm.weight, head.norm.bias, config_.norm_epsilon);
    Tensor logits = fp32(activations_.partial_logits, {count, num_outputs(head.lm_head)});
    linear(logits, normed, head.lm_head);
    if (backend_.num_ranks() > 1) {
      const Tensor whole = fp32(activations_.logits, {count, config_.vocab_size});
      backend_.all_gather_columns(whole, logits);
      logits = whole;
    }
    if (use) use(first, logits);
  }
}

}  // namespace octet::worker
