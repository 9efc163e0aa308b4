// What all kernel benchmarks share: the backend, the machine's peaks, memory, and the counters they report.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"
#include "tools/bench/machine/machine_peaks.h"

namespace octet::bench {

struct BenchContext {
  kernels::CpuOptions options;                // of one rank
  std::unique_ptr<kernels::Backend> backend;  // of these options
  MachinePeaks peaks;                         // zeros when they were not measured
};

// The arithmetic that bounds an op.
enum class Unit { kFma, kBf16, kInt8 };

// What one iteration does: bytes of memory that it cannot avoid to read or write, and arithmetic operations.
struct Work {
  double bytes = 0;
  double operations = 0;
  Unit unit = Unit::kFma;
};

// Adds GB/s, GFLOP/s and, where the peaks are known, what share of them that is (read %, peak %). began: just
// before the loop over the state, which has just ended.
void report(benchmark::State& state, const BenchContext& context, const Work& work, Time began);

// Bytes that the system can give without swapping.
int64_t available_bytes();

// Skips the benchmark, and says why, unless there is this much memory and some to spare.
bool has_memory(benchmark::State& state, int64_t num_bytes);

// A tensor with memory of its own.
struct OwnedTensor {
  std::shared_ptr<kernels::Buffer> storage;
  kernels::Tensor tensor;
};

// Pseudo-random values of both signs, their magnitudes in [2^-7, 2^-5). dtype: bf16 or fp32. Storage is
// nullptr when there is no memory.
OwnedTensor random_matrix(kernels::Backend& backend, kernels::DType dtype, int64_t rows, int64_t columns);

// The same as [tokens, heads, head_dim] fp32.
OwnedTensor random_heads(kernels::Backend& backend, int64_t num_tokens, int64_t num_heads, int64_t head_dim);

// Keys and values of one layer, of so many blocks of kBlockSize tokens, in memory of their own.
struct OwnedKvLayer {
  OwnedTensor keys;
  OwnedTensor values;
  kernels::KvLayer layer;
};
inline constexpr int64_t kBlockSize = 16;
OwnedKvLayer random_kv_layer(kernels::Backend& backend, int64_t num_blocks, int64_t num_kv_heads,
                             int64_t head_dim);

// Adds a benchmark in real time, since work is done by other threads too.
void add_benchmark(const std::string& name, std::function<void(benchmark::State&)> run);

}  // namespace octet::bench
