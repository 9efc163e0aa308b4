#include "tools/bench/machine/machine_peaks.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "tools/bench/machine/compute_loops.h"
#include "tools/bench/machine/parallel.h"
#include "tools/bench/machine/read_patterns.h"

namespace octet::bench {
namespace {

constexpr int kPasses = 12;
constexpr int64_t kIterations = 4'000'000;
constexpr size_t kReadBytes = size_t{1} << 30;

// What there is memory for without harm to others.
size_t read_bytes() {
  const auto available =
      static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return std::min(kReadBytes, available / 2);
}

double operations_per_second(const ComputeLoop& loop, int num_threads) {
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double seconds = seconds_of_parallel(num_threads, [&](int) { loop.run(kIterations); });
    best = std::max(best, num_threads * loop.operations_per_iteration * kIterations / seconds);
  }
  return best;
}

}  // namespace

MachinePeaks measure_machine(int num_threads) {
  MachinePeaks peaks;
  for (const ReadPattern& pattern : read_patterns()) {
    const double rate = read_bytes_per_second(pattern, num_threads, read_bytes());
    if (rate <= peaks.read_bytes_per_second) continue;
    peaks.read_bytes_per_second = rate;
    peaks.read_pattern = pattern.name;
  }
  for (const ComputeLoop& loop : compute_loops()) {
    const double rate = operations_per_second(loop, num_threads);
    if (std::strcmp(loop.name, "fma") == 0) peaks.fma_flops = rate;
    if (std::strcmp(loop.name, "bf16") == 0) peaks.bf16_flops = rate;
    if (std::strcmp(loop.name, "int8") == 0) peaks.int8_ops = rate;
  }
  return peaks;
}

std::string peaks_json(const MachinePeaks& peaks, int num_threads) {
  char text[512];
  std::snprintf(text, sizeof text,
                R"({"threads": %d, "read_bytes_per_second": %.4g, "read_pattern": "%s", "fma_flops": %.4g, )"
                R"("bf16_flops": %.4g, "int8_ops": %.4g})",
                num_threads, peaks.read_bytes_per_second, peaks.read_pattern.c_str(), peaks.fma_flops,
                peaks.bf16_flops, peaks.int8_ops);
  return text;
}

}  // namespace octet::bench
