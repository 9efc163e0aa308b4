// The checks of every op, once for all devices. A check that fails is a bug of the caller: requests are
// validated long before they become tensors.
#include "kernels/backend.h"

#include <cstring>

namespace octet::kernels {
namespace {

bool is_fp32_matrix(const Tensor& t) {
  return t.rank() == 2 && t.dtype() == DType::kFloat32;
}

bool is_weight(const Tensor& t) {
  return t.dtype() == DType::kBFloat16 || t.dtype() == DType::kFloat32;
}

bool is_fp32_heads(const Tensor& t) {
  return t.rank() == 3 && t.dtype() == DType::kFloat32 && t.packed();
}

void check_same_shape(const Tensor& a, const Tensor& b) {
  OCTET_CHECK(a.rank() == b.rank(), a.rank(), " and ", b.rank(), " dimensions");
  for (int d = 0; d < a.rank(); ++d) {
    OCTET_CHECK(a.size(d) == b.size(d), "dimension ", d, ": ", a.size(d), " and ", b.size(d));
  }
}

void check_kv(const KvLayer& kv) {
  const DType type = kv.keys.dtype();
  OCTET_CHECK(type == DType::kFloat32 || type == DType::kBFloat16, "a KV cache of type ",
              static_cast<int>(type));
  OCTET_CHECK(kv.keys.rank() == 4 && kv.keys.packed());
  OCTET_CHECK(kv.values.rank() == 4 && kv.values.dtype() == type && kv.values.packed());
  check_same_shape(kv.keys, kv.values);
}

void check_chunk(const AttentionChunk& chunk, int64_t first_row, int64_t num_blocks, int64_t block_size) {
  OCTET_CHECK(chunk.first_row == first_row, "chunk at row ", chunk.first_row, ", expected ", first_row);
  OCTET_CHECK(chunk.num_rows > 0 && chunk.start_position >= 0, chunk.num_rows, " rows at position ",
              chunk.start_position);
  const int64_t context_length = int64_t{chunk.start_position} + chunk.num_rows;
  const int64_t used_blocks = (context_length + block_size - 1) / block_size;
  OCTET_CHECK(static_cast<int64_t>(chunk.block_table.size()) >= used_blocks, chunk.block_table.size(),
              " blocks for ", context_length, " positions");
  for (const int32_t block : chunk.block_table.first(static_cast<size_t>(used_blocks))) {
    OCTET_CHECK(block >= 0 && block < num_blocks, "block ", block, " of ", num_blocks);
  }
}

void check_norm(const Tensor& input, const Tensor& weight, const Tensor& bias, float epsilon) {
  OCTET_CHECK(is_weight(weight) && weight.rank() == 1 && weight.size(0) == input.size(1), weight.size(0));
  OCTET_CHECK(is_weight(bias) && bias.rank() == 1 && bias.size(0) == input.size(1), bias.size(0));
  OCTET_CHECK(epsilon > 0, epsilon);
}

// A linear layer from [T, depth] to [T, num_columns].
void check_linear(const Tensor& output, const Tensor& input, int64_t num_columns, int64_t depth) {
  OCTET_CHECK(is_fp32_matrix(output) && is_fp32_matrix(input));
  OCTET_CHECK(output.size(0) == input.size(0), output.size(0), " and ", input.size(0), " rows");
  OCTET_CHECK(input.size(1) == depth, input.size(1), " and ", depth, " deep");
  OCTET_CHECK(output.size(1) == num_columns, output.size(1), " and ", num_columns, " columns");
}

void check_sample_row(const SampleRow& row, int64_t vocab_size, uint32_t max_top_tokens) {
  int64_t next_token = 0;
  for (const LogitEdit& edit : row.edits) {
    OCTET_CHECK(edit.token >= next_token && edit.token < vocab_size, "edit of token ", edit.token, " of ",
                vocab_size, ", expected ", next_token, " or more");
    next_token = int64_t{edit.token} + 1;
  }
  OCTET_CHECK(row.allowed.empty() || static_cast<int64_t>(row.allowed.size()) == (vocab_size + 31) / 32,
              row.allowed.size(), " words for ", vocab_size, " tokens");
  OCTET_CHECK(!row.scored_token || *row.scored_token < vocab_size, "token ", *row.scored_token, " of ",
              vocab_size);
  OCTET_CHECK(!row.num_top || *row.num_top <= max_top_tokens, *row.num_top, " alternatives, limit ",
              max_top_tokens);
  OCTET_CHECK(row.temperature >= 0, row.temperature);
}

}  // namespace

void Backend::upload(void* device, const void* host, int64_t num_bytes) {
  std::memcpy(device, host, static_cast<size_t>(num_bytes));
}

void Backend::download(void* host, const void* device, int64_t num_bytes) {
  std::memcpy(host, device, static_cast<size_t>(num_bytes));
}

std::optional<std::string> Backend::make_peer_id(PeerId&) {
  return std::string(name()) + " ranks have no connection of their own";
}

std::unique_ptr<Peer> Backend::connect_peer(const PeerId&, PeerRole) {
  OCTET_CHECK(false, name(), " ranks have no connection of their own");
  return nullptr;
}

void Backend::embedding(Tensor output, std::span<const int32_t> tokens, Tensor table, int32_t first_token) {
  OCTET_CHECK(is_fp32_matrix(output) && table.rank() == 2 && is_weight(table));
  OCTET_CHECK(output.size(0) == static_cast<int64_t>(tokens.size()), output.size(0), " rows, ", tokens.size(),
              " tokens");
  OCTET_CHECK(output.size(1) == table.size(1), output.size(1), " and ", table.size(1), " columns");
  if (output.num_elements() == 0) return;
  do_embedding(output, tokens, table, first_token);
}

void Backend::layer_norm(Tensor output, Tensor input, Tensor weight, Tensor bias, float epsilon) {
  OCTET_CHECK(is_fp32_matrix(output) && is_fp32_matrix(input));
  check_same_shape(output, input);
  check_norm(input, weight, bias, epsilon);
  if (input.num_elements() == 0) return;
  OCTET_CHECK(output.data<void>() != input.data<void>(), "output aliases input");
  do_layer_norm(output, input, weight, bias, epsilon);
}

void Backend::add_and_layer_norm(Tensor output, Tensor residual, Tensor input, Tensor weight, Tensor bias,
                                 float epsilon) {
  OCTET_CHECK(is_fp32_matrix(output) && is_fp32_matrix(residual) && is_fp32_matrix(input));
  check_same_shape(output, residual);
  check_same_shape(output, input);
  check_norm(input, weight, bias, epsilon);
  if (input.num_elements() == 0) return;
  OCTET_CHECK(output.data<void>() != residual.data<void>() && output.data<void>() != input.data<void>() &&
                  residual.data<void>() != input.data<void>(),
              "tensors alias");
  do_add_and_layer_norm(output, residual, input, weight, bias, epsilon);
}

void Backend::linear(Tensor output, Tensor input, Tensor weight, Epilogue epilogue) {
  OCTET_CHECK(weight.rank() == 2 && is_weight(weight));
  check_linear(output, input, weight.size(0), weight.size(1));
  if (output.num_elements() == 0) return;
  do_linear(output, input, weight, epilogue);
}

std::optional<PackedWeight> Backend::pack(WeightFormat format, Tensor weight, Tensor scales) {
  const bool is_fp8 = weight.dtype() == DType::kFloat8E4M3;
  OCTET_CHECK(weight.rank() == 2 && (is_fp8 || is_weight(weight)));
  OCTET_CHECK(is_fp8 == (scales.rank() == 1), "scales of rank ", scales.rank());
  if (is_fp8) {
    OCTET_CHECK(
        scales.dtype() == DType::kFloat32 && (scales.size(0) == 1 || scales.size(0) == weight.size(0)),
        scales.size(0), " scales for ", weight.size(0), " columns");
  }
  return do_pack(format, weight, scales);
}

void Backend::linear(Tensor output, Tensor input, const PackedWeight& weight, Epilogue epilogue) {
  OCTET_CHECK(weight.storage != nullptr);
  check_linear(output, input, weight.num_columns, weight.depth);
  if (output.num_elements() == 0) return;
  do_packed_linear(output, input, weight, epilogue);
}

void Backend::add(Tensor output, Tensor input) {
  OCTET_CHECK(is_fp32_matrix(output) && is_fp32_matrix(input));
  check_same_shape(output, input);
  if (output.num_elements() == 0) return;
  do_add(output, input);
}

void Backend::rotary_and_kv_write(Tensor query, Tensor key, Tensor value, std::span<const int32_t> positions,
                                  std::span<const int32_t> slots, const RotaryTable& table,
                                  const KvLayer& kv) {
  OCTET_CHECK(is_fp32_heads(query) && is_fp32_heads(key) && is_fp32_heads(value));
  check_same_shape(key, value);
  check_kv(kv);
  const int64_t num_tokens = query.size(0);
  OCTET_CHECK(key.size(0) == num_tokens, key.size(0), " and ", num_tokens, " rows");
  OCTET_CHECK(static_cast<int64_t>(positions.size()) == num_tokens, positions.size(), " positions");
  OCTET_CHECK(static_cast<int64_t>(slots.size()) == num_tokens, slots.size(), " slots");
  OCTET_CHECK(key.size(2) == query.size(2), key.size(2), " and ", query.size(2), " deep");
  OCTET_CHECK(kv.keys.size(2) == key.size(1) && kv.keys.size(3) == key.size(2), "cache of ", kv.keys.size(2),
              " x ", kv.keys.size(3), ", keys of ", key.size(1), " x ", key.size(2));
  OCTET_CHECK(is_fp32_matrix(table.cosines) && is_fp32_matrix(table.sines) && table.cosines.packed() &&
              table.sines.packed());
  check_same_shape(table.cosines, table.sines);
  OCTET_CHECK(2 * table.cosines.size(1) <= query.size(2), 2 * table.cosines.size(1), " rotary dimensions of ",
              query.size(2));
  const int64_t num_slots = kv.keys.size(0) * kv.keys.size(1);
  for (const int32_t position : positions) {
    OCTET_CHECK(position >= 0 && position < table.cosines.size(0), "position ", position);
  }
  for (const int32_t slot : slots)
    OCTET_CHECK(slot >= 0 && slot < num_slots, "slot ", slot, " of ", num_slots);
  if (num_tokens == 0) return;
  do_rotary_and_kv_write(query, key, value, positions, slots, table, kv);
}

void Backend::paged_attention(Tensor output, Tensor query, const KvLayer& kv,
                              std::span<const AttentionChunk> chunks) {
  OCTET_CHECK(is_fp32_heads(output) && is_fp32_heads(query));
  check_same_shape(output, query);
  check_kv(kv);
  OCTET_CHECK(kv.keys.size(3) == query.size(2), kv.keys.size(3), " and ", query.size(2), " deep");
  OCTET_CHECK(kv.keys.size(2) > 0 && query.size(1) % kv.keys.size(2) == 0, query.size(1), " query heads, ",
              kv.keys.size(2), " KV heads");
  int64_t num_rows = 0;
  for (const AttentionChunk& chunk : chunks) {
    check_chunk(chunk, num_rows, kv.keys.size(0), kv.keys.size(1));
    num_rows += chunk.num_rows;
  }
  OCTET_CHECK(num_rows == query.size(0), "chunks of ", num_rows, " rows, query of ", query.size(0));
  if (query.num_elements() == 0) return;
  do_paged_attention(output, query, kv, chunks);
}

void Backend::gather_rows(Tensor output, Tensor input, std::span<const int32_t> rows) {
  OCTET_CHECK(is_fp32_matrix(output) && is_fp32_matrix(input));
  OCTET_CHECK(output.size(0) == static_cast<int64_t>(rows.size()), output.size(0), " and ", rows.size(),
              " rows");
  OCTET_CHECK(output.size(1) == input.size(1), output.size(1), " and ", input.size(1), " columns");
  for (const int32_t row : rows)
    OCTET_CHECK(row >= 0 && row < input.size(0), "row ", row, " of ", input.size(0));
  if (output.num_elements() == 0) return;
  do_gather_rows(output, input, rows);
}

void Backend::sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampledToken> results) {
  OCTET_CHECK(is_fp32_matrix(logits) && logits.size(1) > 0);
  const auto num_rows = static_cast<size_t>(logits.size(0));
  OCTET_CHECK(rows.size() == num_rows && results.size() == num_rows, rows.size(), " and ", results.size(),
              " for ", num_rows, " rows");
  const uint32_t max_top_tokens = has_host_memory() ? UINT32_MAX : kMaxTopTokens;
  for (const SampleRow& row : rows) check_sample_row(row, logits.size(1), max_top_tokens);
  if (rows.empty()) return;
  do_sample(logits, rows, results);
}

void Backend::all_reduce(Tensor data) {
  OCTET_CHECK(is_fp32_matrix(data) && data.packed());
  if (data.num_elements() == 0 || num_ranks() == 1) return;
  do_all_reduce(data);
}

void Backend::all_gather_columns(Tensor output, Tensor input) {
  OCTET_CHECK(is_fp32_matrix(output) && is_fp32_matrix(input));
  OCTET_CHECK(output.size(0) == input.size(0), output.size(0), " and ", input.size(0), " rows");
  OCTET_CHECK(output.size(1) == num_ranks() * input.size(1), output.size(1), " columns of ", num_ranks(),
              " x ", input.size(1));
  if (output.num_elements() == 0) return;
  do_all_gather_columns(output, input);
}

}  // namespace octet::kernels
