#include "tools/bench/kernels/bench_context.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>
#include <utility>
#include <vector>

namespace octet::bench {
namespace {

using kernels::DType;
using kernels::Tensor;

constexpr int64_t kSpareBytes = int64_t{512} << 20;
constexpr size_t kPatternBytes = size_t{1} << 20;

double peak_of(const MachinePeaks& peaks, Unit unit) {
  if (unit == Unit::kInt8 && peaks.int8_ops > 0) return peaks.int8_ops;
  if (unit != Unit::kFma && peaks.bf16_flops > 0) return peaks.bf16_flops;
  return peaks.fma_flops;
}

// Random values once; larger tensors repeat them, which costs little and looks the same to a kernel.
std::vector<char> pattern_of(DType dtype) {
  std::mt19937 random(4);
  std::vector<uint16_t> halves(kPatternBytes / sizeof(uint16_t));
  // A bf16 of a random sign, exponent of -7 or -6 and mantissa; in the upper half of an fp32 the same.
  for (uint16_t& half : halves) half = static_cast<uint16_t>(0x3c00 | (random() & 0x80ff));
  if (dtype == DType::kFloat32) {
    for (size_t i = 0; i < halves.size(); i += 2) halves[i] = 0;
  }
  std::vector<char> bytes(kPatternBytes);
  std::memcpy(bytes.data(), halves.data(), bytes.size());
  return bytes;
}

std::shared_ptr<kernels::Buffer> random_buffer(kernels::Backend& backend, DType dtype, int64_t num_elements) {
  const auto num_bytes = static_cast<size_t>(num_elements * size_of(dtype));
  std::shared_ptr<kernels::Buffer> buffer = backend.allocate(static_cast<int64_t>(num_bytes));
  if (buffer == nullptr) return nullptr;
  const std::vector<char> pattern = pattern_of(dtype);
  char* const data = static_cast<char*>(buffer->data());
  for (size_t offset = 0; offset < num_bytes; offset += pattern.size()) {
    std::memcpy(data + offset, pattern.data(), std::min(pattern.size(), num_bytes - offset));
  }
  return buffer;
}

}  // namespace

void report(benchmark::State& state, const BenchContext& context, const Work& work, Time began) {
  const double per_second = static_cast<double>(state.iterations()) / seconds(now() - began);
  state.counters["GB/s"] = work.bytes * per_second / 1e9;
  state.counters["GFLOP/s"] = work.operations * per_second / 1e9;
  if (context.peaks.read_bytes_per_second == 0) return;
  state.counters["read %"] = 100 * work.bytes * per_second / context.peaks.read_bytes_per_second;
  state.counters["peak %"] = 100 * work.operations * per_second / peak_of(context.peaks, work.unit);
}

int64_t available_bytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    long long kib = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %lld kB", &kib) == 1) return kib << 10;
  }
  return std::numeric_limits<int64_t>::max();
}

bool has_memory(benchmark::State& state, int64_t num_bytes) {
  const int64_t available = available_bytes();
  if (num_bytes + kSpareBytes <= available) return true;
  char text[128];
  std::snprintf(text, sizeof text, "needs %.1f GB of memory, %.1f GB are free",
                static_cast<double>(num_bytes + kSpareBytes) / 1e9, static_cast<double>(available) / 1e9);
  state.SkipWithError(text);
  return false;
}

OwnedTensor random_matrix(kernels::Backend& backend, DType dtype, int64_t rows, int64_t columns) {
  std::shared_ptr<kernels::Buffer> buffer = random_buffer(backend, dtype, rows * columns);
  if (buffer == nullptr) return {};
  return {buffer, Tensor(buffer->data(), dtype, {rows, columns})};
}

OwnedTensor random_heads(kernels::Backend& backend, int64_t num_tokens, int64_t num_heads, int64_t head_dim) {
  std::shared_ptr<kernels::Buffer> buffer =
      random_buffer(backend, DType::kFloat32, num_tokens * num_heads * head_dim);
  if (buffer == nullptr) return {};
  return {buffer, Tensor(buffer->data(), DType::kFloat32, {num_tokens, num_heads, head_dim})};
}

OwnedKvLayer random_kv_layer(kernels::Backend& backend, int64_t num_blocks, int64_t num_kv_heads,
                             int64_t head_dim) {
  OwnedKvLayer kv;
  kv.keys = random_heads(backend, num_blocks * kBlockSize, num_kv_heads, head_dim);
  kv.values = random_heads(backend, num_blocks * kBlockSize, num_kv_heads, head_dim);
  const auto cache = [&](const OwnedTensor& tensor) {
    return Tensor(tensor.storage->data(), DType::kFloat32, {num_blocks, kBlockSize, num_kv_heads, head_dim});
  };
  kv.layer = {cache(kv.keys), cache(kv.values)};
  return kv;
}

void add_benchmark(const std::string& name, std::function<void(benchmark::State&)> run) {
  benchmark::RegisterBenchmark(name.c_str(), std::move(run))->UseRealTime()->Unit(benchmark::kMicrosecond);
}

}  // namespace octet::bench
