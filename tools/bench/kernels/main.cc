// octet-bench-kernels: every op at the shapes of the family, with its rates as shares of what this machine
// can do. Takes Google Benchmark's flags beside its own. Exit status: 0, or 2 for bad flags.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/flags.h"
#include "kernels/cpu/cpu_topology.h"
#include "tools/bench/kernels/op_benchmarks.h"

namespace octet::bench {
namespace {

struct Options {
  int threads = 0;
  std::string cpu_isa = "auto";
  std::vector<std::string> shapes;
  bool without_peaks = false;
};

void add_flags(Flags& flags, Options& options) {
  flags.add_number("threads", &options.threads, 0, kernels::kMaxCpuThreadsPerRank,
                   "Compute threads. 0: the CPUs that this process may use.");
  flags.add_choice("cpu-isa", &options.cpu_isa, {"auto", "avx2", "avx512", "avx512_bf16"},
                   "The instruction set.");
  flags.add_list("shapes", &options.shapes,
                 "Shapes to measure: nano, 1b, mini-4b, 15b, 340b, 340b-tp8. Default: all.");
  flags.add_switch("without-peaks", &options.without_peaks,
                   "Does not measure the machine first, and leaves the shares out.");
}

// Errors: INVALID_ARGUMENT naming --shapes.
absl::StatusOr<std::vector<ModelShape>> chosen_shapes(const std::vector<std::string>& names) {
  std::vector<ModelShape> all = model_shapes();
  if (names.empty()) return all;
  std::vector<ModelShape> chosen;
  for (const std::string& name : names) {
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const ModelShape& shape) { return shape.name == name; });
    if (found == all.end())
      return absl::InvalidArgumentError(absl::StrCat("--shapes: no shape is named ", name));
    chosen.push_back(*found);
  }
  return chosen;
}

// Errors: INVALID_ARGUMENT naming --cpu-isa or --threads.
absl::StatusOr<BenchContext> make_context(const Options& options) {
  BenchContext context;
  context.options.isa = kernels::cpu_isa_named(options.cpu_isa);
  const std::vector<int> cpus = kernels::usable_cpus();
  context.options.threads_per_rank = options.threads > 0 ? options.threads : static_cast<int>(cpus.size());
  if (cpus.size() == static_cast<size_t>(context.options.threads_per_rank)) context.options.cpus = cpus;
  if (const auto problem = kernels::find_problem(context.options)) {
    return absl::InvalidArgumentError(absl::StrCat("--cpu-isa: ", *problem));
  }
  if (!options.without_peaks) context.peaks = measure_machine(context.options.threads_per_rank);
  context.backend = std::move(kernels::make_cpu_ranks(context.options).front());
  return context;
}

void add_context(const BenchContext& context) {
  benchmark::AddCustomContext("backend", context.backend->name());
  benchmark::AddCustomContext("peaks", peaks_json(context.peaks, context.options.threads_per_rank));
}

absl::Status run(const Options& options) {
  const absl::StatusOr<std::vector<ModelShape>> shapes = chosen_shapes(options.shapes);
  if (!shapes.ok()) return shapes.status();
  const absl::StatusOr<BenchContext> context = make_context(options);
  if (!context.ok()) return context.status();
  add_context(*context);
  for (const ModelShape& shape : *shapes) {
    add_linear_benchmarks(*context, shape);
    add_row_benchmarks(*context, shape);
    add_attention_benchmarks(*context, shape);
    add_collective_benchmarks(*context, shape);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return absl::OkStatus();
}

// Google Benchmark takes its own flags out of the arguments. Half a second a benchmark, its default, would
// make an hour.
void take_benchmark_flags(std::vector<char*>& arguments) {
  static char min_time[] = "--benchmark_min_time=0.05";
  static char columns[] = "--benchmark_counters_tabular=true";
  arguments.insert(arguments.begin() + 1, {min_time, columns});
  int argc = static_cast<int>(arguments.size());
  benchmark::Initialize(&argc, arguments.data());
  arguments.resize(static_cast<size_t>(argc));
}

}  // namespace
}  // namespace octet::bench

int main(int argc, char** argv) {
  octet::Flags flags("octet-bench-kernels",
                     "Measures every op of the CPU backend. Takes --benchmark_* flags as well.");
  octet::bench::Options options;
  octet::bench::add_flags(flags, options);
  std::vector<char*> arguments(argv, argv + argc);
  const bool help = std::any_of(arguments.begin(), arguments.end(),
                                [](const char* argument) { return std::string(argument) == "--help"; });
  if (!help) octet::bench::take_benchmark_flags(arguments);
  const auto outcome = flags.parse(static_cast<int>(arguments.size()), arguments.data());
  absl::Status status = outcome.status();
  if (outcome.ok() && *outcome == octet::Flags::Outcome::kHelpPrinted) return 0;
  if (status.ok()) status = octet::bench::run(options);
  if (status.ok()) return 0;
  std::cerr << "octet-bench-kernels: " << status.message() << "\n";
  return 2;
}
