// paged_attention(): a prefill chunk, alone and after a long prompt, and decoding beside other sequences.
#include <algorithm>
#include <random>
#include <vector>

#include "tools/bench/kernels/op_benchmarks.h"

namespace octet::bench {
namespace {

using kernels::AttentionChunk;
using kernels::DType;
using kernels::Tensor;

struct AttentionCase {
  const char* name;
  int64_t num_sequences;
  int64_t num_rows;        // of each
  int64_t start_position;  // of each
};

constexpr AttentionCase kCases[] = {
    {"prefill/512", 1, 512, 0},         {"prefill/512_after_3584", 1, 512, 3584},
    {"decode/1_at_1024", 1, 1, 1023},   {"decode/16_at_1024", 16, 1, 1023},
    {"decode/16_at_4096", 16, 1, 4095},
};

// Blocks of every sequence, scattered over the cache.
std::vector<std::vector<int32_t>> block_tables(const AttentionCase& run, int64_t blocks_each) {
  std::vector<int32_t> ids(static_cast<size_t>(run.num_sequences * blocks_each));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  std::shuffle(ids.begin(), ids.end(), std::mt19937(4));
  std::vector<std::vector<int32_t>> tables;
  for (int64_t s = 0; s < run.num_sequences; ++s) {
    const auto begin = ids.begin() + s * blocks_each;
    tables.emplace_back(begin, begin + blocks_each);
  }
  return tables;
}

void run_attention(benchmark::State& state, const BenchContext& context, const ModelShape& shape,
                   const AttentionCase& run) {
  kernels::Backend& backend = *context.backend;
  const int64_t length = run.start_position + run.num_rows;
  const int64_t blocks_each = (length + kBlockSize - 1) / kBlockSize;
  const int64_t num_blocks = run.num_sequences * blocks_each;
  const int64_t cache_elements = num_blocks * kBlockSize * shape.num_kv_heads * shape.head_dim;
  if (!has_memory(state, 2 * 4 * cache_elements)) return;
  const OwnedKvLayer kv = random_kv_layer(backend, num_blocks, shape.num_kv_heads, shape.head_dim);
  const int64_t num_rows = run.num_sequences * run.num_rows;
  const OwnedTensor query = random_heads(backend, num_rows, shape.num_heads, shape.head_dim);
  const OwnedTensor output = random_heads(backend, num_rows, shape.num_heads, shape.head_dim);
  const std::vector<std::vector<int32_t>> tables = block_tables(run, blocks_each);
  std::vector<AttentionChunk> chunks;
  for (int64_t s = 0; s < run.num_sequences; ++s) {
    chunks.push_back({static_cast<int32_t>(s * run.num_rows), static_cast<int32_t>(run.num_rows),
                      static_cast<int32_t>(run.start_position), tables[static_cast<size_t>(s)]});
  }
  backend.paged_attention(output.tensor, query.tensor, kv.layer, chunks);  // grows scratch memory
  const Time began = now();
  for (auto _ : state) backend.paged_attention(output.tensor, query.tensor, kv.layer, chunks);
  // Row r of a sequence sees start_position + r + 1 keys.
  const auto rows = static_cast<double>(run.num_rows);
  const double seen = rows * (static_cast<double>(run.start_position) + (rows + 1) / 2) *
                      static_cast<double>(run.num_sequences);
  const auto query_columns = static_cast<double>(shape.num_heads * shape.head_dim);
  report(state, context,
         {4 * (2 * static_cast<double>(cache_elements) + 2 * static_cast<double>(num_rows) * query_columns),
          4 * seen * query_columns, Unit::kFma},
         began);
}

}  // namespace

void add_attention_benchmarks(const BenchContext& context, const ModelShape& shape) {
  for (const AttentionCase& run : kCases) {
    add_benchmark(
        "paged_attention/" + shape.name + "/" + run.name,
        [&context, shape, &run](benchmark::State& state) { run_attention(state, context, shape, run); });
  }
}

}  // namespace octet::bench
