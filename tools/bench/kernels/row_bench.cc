// The ops that read and write rows and compute little: layer_norm, add_and_layer_norm, add, embedding,
// rotary_and_kv_write, gather_rows.
#include <numeric>
#include <vector>

#include "kernels/rotary_table.h"
#include "tools/bench/kernels/op_benchmarks.h"

namespace octet::bench {
namespace {

using kernels::DType;
using kernels::Tensor;

constexpr int64_t kRows[] = {1, 16, 512};
constexpr float kEpsilon = 1e-5f;
constexpr int64_t kMaxEmbeddingRows = 32768;  // of the table; more are as far apart

Tensor first_row(const Tensor& matrix) {
  return {matrix.data<void>(), matrix.dtype(), {matrix.size(1)}};
}

// Fills and runs one op over num_rows rows of the hidden size; `run` gets two fp32 matrices and a [2, H] bf16
// one.
template <typename Run>
void add_hidden_benchmark(const BenchContext& context, const ModelShape& shape, const std::string& op,
                          double matrices_moved, double operations_per_element, Run run) {
  for (const int64_t num_rows : kRows) {
    const std::string name = op + "/" + shape.name + "/" + std::to_string(num_rows);
    add_benchmark(name, [&context, shape, num_rows, matrices_moved, operations_per_element,
                         run](benchmark::State& state) {
      kernels::Backend& backend = *context.backend;
      const OwnedTensor output = random_matrix(backend, DType::kFloat32, num_rows, shape.hidden_size);
      const OwnedTensor residual = random_matrix(backend, DType::kFloat32, num_rows, shape.hidden_size);
      const OwnedTensor input = random_matrix(backend, DType::kFloat32, num_rows, shape.hidden_size);
      const OwnedTensor norm = random_matrix(backend, DType::kBFloat16, 2, shape.hidden_size);
      const Time began = now();
      for (auto _ : state) run(backend, output.tensor, residual.tensor, input.tensor, norm.tensor);
      const auto elements = static_cast<double>(num_rows * shape.hidden_size);
      report(state, context, {4 * elements * matrices_moved, elements * operations_per_element, Unit::kFma},
             began);
    });
  }
}

void run_embedding(benchmark::State& state, const BenchContext& context, const ModelShape& shape,
                   int64_t num_rows) {
  const int64_t table_rows = std::min(shape.vocab_size, kMaxEmbeddingRows);
  if (!has_memory(state, 2 * table_rows * shape.hidden_size)) return;
  const OwnedTensor table = random_matrix(*context.backend, DType::kBFloat16, table_rows, shape.hidden_size);
  const OwnedTensor output = random_matrix(*context.backend, DType::kFloat32, num_rows, shape.hidden_size);
  std::vector<int32_t> tokens(static_cast<size_t>(num_rows));
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<int32_t>(i * 7919 % static_cast<size_t>(table_rows));
  }
  const Time began = now();
  for (auto _ : state) context.backend->embedding(output.tensor, tokens, table.tensor, 0);
  report(state, context, {6.0 * static_cast<double>(num_rows * shape.hidden_size), 0, Unit::kFma}, began);
}

void run_rotary(benchmark::State& state, const BenchContext& context, const ModelShape& shape,
                int64_t num_rows) {
  kernels::Backend& backend = *context.backend;
  const OwnedTensor query = random_heads(backend, num_rows, shape.num_heads, shape.head_dim);
  const OwnedTensor key = random_heads(backend, num_rows, shape.num_kv_heads, shape.head_dim);
  const OwnedTensor value = random_heads(backend, num_rows, shape.num_kv_heads, shape.head_dim);
  const int64_t num_blocks = (num_rows + kBlockSize - 1) / kBlockSize;
  const OwnedKvLayer kv = random_kv_layer(backend, num_blocks, shape.num_kv_heads, shape.head_dim);
  const kernels::RotaryTable table =
      kernels::make_rotary_table(backend, num_rows, shape.head_dim / 2, 10000.0f);
  std::vector<int32_t> positions(static_cast<size_t>(num_rows));
  std::iota(positions.begin(), positions.end(), 0);
  const Time began = now();
  for (auto _ : state) {
    backend.rotary_and_kv_write(query.tensor, key.tensor, value.tensor, positions, positions, table,
                                kv.layer);
  }
  const auto head_bytes = static_cast<double>(4 * num_rows * shape.head_dim);
  const auto num_heads = static_cast<double>(shape.num_heads);
  const auto num_kv_heads = static_cast<double>(shape.num_kv_heads);
  // Half of each query and key is rotated: three operations an element.
  report(state, context,
         {head_bytes * (num_heads + 4 * num_kv_heads), head_bytes / 4 * (num_heads + num_kv_heads) * 1.5,
          Unit::kFma},
         began);
}

void run_gather(benchmark::State& state, const BenchContext& context, const ModelShape& shape,
                int64_t num_rows) {
  const OwnedTensor input = random_matrix(*context.backend, DType::kFloat32, 2 * num_rows, shape.hidden_size);
  const OwnedTensor output = random_matrix(*context.backend, DType::kFloat32, num_rows, shape.hidden_size);
  std::vector<int32_t> rows(static_cast<size_t>(num_rows));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(2 * i);
  const Time began = now();
  for (auto _ : state) context.backend->gather_rows(output.tensor, input.tensor, rows);
  report(state, context, {8.0 * static_cast<double>(num_rows * shape.hidden_size), 0, Unit::kFma}, began);
}

using RowBenchmark = void (*)(benchmark::State&, const BenchContext&, const ModelShape&, int64_t);

void add_for_rows(const BenchContext& context, const ModelShape& shape, const std::string& op,
                  RowBenchmark run) {
  for (const int64_t num_rows : kRows) {
    add_benchmark(
        op + "/" + shape.name + "/" + std::to_string(num_rows),
        [&context, shape, num_rows, run](benchmark::State& state) { run(state, context, shape, num_rows); });
  }
}

}  // namespace

void add_row_benchmarks(const BenchContext& context, const ModelShape& shape) {
  add_hidden_benchmark(context, shape, "layer_norm", 2, 8,
                       [](kernels::Backend& backend, const Tensor& output, const Tensor&, const Tensor& input,
                          const Tensor& norm) {
                         backend.layer_norm(output, input, first_row(norm), first_row(norm.rows(1, 1)),
                                            kEpsilon);
                       });
  add_hidden_benchmark(context, shape, "add_and_layer_norm", 4, 9,
                       [](kernels::Backend& backend, const Tensor& output, const Tensor& residual,
                          const Tensor& input, const Tensor& norm) {
                         backend.add_and_layer_norm(output, residual, input, first_row(norm),
                                                    first_row(norm.rows(1, 1)), kEpsilon);
                       });
  add_hidden_benchmark(context, shape, "add", 3, 1,
                       [](kernels::Backend& backend, const Tensor& output, const Tensor&, const Tensor& input,
                          const Tensor&) { backend.add(output, input); });
  if (shape.vocab_size > 0) add_for_rows(context, shape, "embedding", run_embedding);
  add_for_rows(context, shape, "rotary_and_kv_write", run_rotary);
  add_for_rows(context, shape, "gather_rows", run_gather);
}

}  // namespace octet::bench
