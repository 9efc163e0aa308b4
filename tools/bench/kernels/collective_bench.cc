// all_reduce() and all_gather_columns() over 2 and 8 ranks, each a thread of its own.
#include <algorithm>
#include <functional>
#include <thread>
#include <vector>

#include "tools/bench/kernels/op_benchmarks.h"

namespace octet::bench {
namespace {

using kernels::Backend;
using kernels::DType;

constexpr int kRanks[] = {2, 8};
constexpr int64_t kRows[] = {1, 16, 512};
constexpr int kCallsAtOnce = 16;  // between two agreements of the ranks to go on

// What one rank calls again and again, on tensors of its own.
using Collective = std::function<void(Backend&, const OwnedTensor& input, const OwnedTensor& output)>;

// Runs the collective on every rank until rank 0, which is timed, has enough.
void run_collective(benchmark::State& state, const BenchContext& context, int num_ranks, int64_t num_rows,
                    int64_t num_columns, const Collective& call) {
  kernels::CpuOptions options = context.options;
  options.num_ranks = num_ranks;
  options.threads_per_rank = std::max(1, context.options.threads_per_rank / num_ranks);
  const std::vector<std::unique_ptr<Backend>> ranks = kernels::make_cpu_ranks(options);
  const auto calls = [&](Backend& backend, const OwnedTensor& input, const OwnedTensor& output) {
    for (int i = 0; i < kCallsAtOnce; ++i) call(backend, input, output);
  };
  const auto input_of = [&](Backend& backend) {
    return random_matrix(backend, DType::kFloat32, num_rows, num_columns);
  };
  const auto output_of = [&](Backend& backend) {
    return random_matrix(backend, DType::kFloat32, num_rows, num_columns * num_ranks);
  };
  std::vector<std::jthread> others;
  for (size_t r = 1; r < ranks.size(); ++r) {
    others.emplace_back([&, &backend = *ranks[r]] {
      const OwnedTensor input = input_of(backend);
      const OwnedTensor output = output_of(backend);
      while (backend.all_agree(true)) calls(backend, input, output);
    });
  }
  Backend& backend = *ranks.front();
  const OwnedTensor input = input_of(backend);
  const OwnedTensor output = output_of(backend);
  const Time began = now();
  while (state.KeepRunningBatch(kCallsAtOnce)) {
    backend.all_agree(true);
    calls(backend, input, output);
  }
  backend.all_agree(false);
  // Every rank's numbers are read once and the result is written once for each rank.
  const auto elements = static_cast<double>(num_rows * num_columns * num_ranks);
  report(state, context, {4 * 2 * elements, elements, Unit::kFma}, began);
}

}  // namespace

void add_collective_benchmarks(const BenchContext& context, const ModelShape& shape) {
  const Collective reduce = [](Backend& backend, const OwnedTensor& input, const OwnedTensor&) {
    backend.all_reduce(input.tensor);
  };
  const Collective gather = [](Backend& backend, const OwnedTensor& input, const OwnedTensor& output) {
    backend.all_gather_columns(output.tensor, input.tensor);
  };
  for (const int num_ranks : kRanks) {
    for (const int64_t num_rows : kRows) {
      const std::string end =
          "/" + shape.name + "/tp" + std::to_string(num_ranks) + "/" + std::to_string(num_rows);
      add_benchmark("all_reduce" + end,
                    [&context, shape, num_ranks, num_rows, reduce](benchmark::State& state) {
                      run_collective(state, context, num_ranks, num_rows, shape.hidden_size, reduce);
                    });
      if (shape.vocab_size == 0 || num_rows > 16) continue;  // logits come in pieces of few rows
      add_benchmark("all_gather_columns" + end, [&context, shape, num_ranks, num_rows,
                                                 gather](benchmark::State& state) {
        run_collective(state, context, num_ranks, num_rows, shape.vocab_size / num_ranks, gather);
      });
    }
  }
}

}  // namespace octet::bench
