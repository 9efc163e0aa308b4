#include "tools/gpu_check/gpu_check.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iostream>
#include <optional>
#include <random>
#include <string>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/launch.h"
#include "tools/gpu_check/check_ops.h"
#include "tools/gpu_check/report.h"
#include "tools/gpu_check/time_rank.h"

namespace octet::gpu_check {
namespace {

constexpr const char* kUsage =
    "usage: octet-gpu-check [--json FILE] [--device N] [--seed N] [--shape 340b|nano] [--checks-only]\n"
    "Checks every op of the CUDA backend against a float64 oracle, and times a rank of the shape.\n";

struct Options {
  std::string json;
  int device = 0;
  uint64_t seed = std::random_device()();
  const RankShape* shape = rank_shape_named("340b");
  bool checks_only = false;
};

template <typename Number>
bool read_number(const std::string& text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

std::optional<Options> read_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--checks-only") {
      options.checks_only = true;
      continue;
    }
    if (++i == argc) return std::nullopt;
    const std::string value = argv[i];
    bool good = false;
    if (flag == "--json") {
      options.json = value;
      good = true;
    } else if (flag == "--device") {
      good = read_number(value, options.device);
    } else if (flag == "--seed") {
      good = read_number(value, options.seed);
    } else if (flag == "--shape") {
      options.shape = rank_shape_named(value);
      good = options.shape != nullptr;
    }
    if (!good) return std::nullopt;
  }
  return options;
}

}  // namespace

int run(int argc, char** argv) {
  const std::optional<Options> options = read_options(argc, argv);
  if (!options) {
    std::cerr << kUsage;
    return 2;
  }
  if (const auto problem = kernels::find_cuda_problem(options->device)) {
    std::cerr << "octet-gpu-check: " << *problem << "\n";
    return 1;
  }
  Report report;
  cudaDeviceProp properties;
  kernels::cuda::check(cudaGetDeviceProperties(&properties, options->device), "cudaGetDeviceProperties");
  report.device = properties.name;
  report.seed = options->seed;
  const auto rank = std::move(kernels::make_cuda_ranks({options->device}).front());
  const std::vector<int64_t> head_dims = {16, 80, 128, 192};
  report.checks = check_ops(*rank, options->seed, head_dims);
  if (!options->checks_only) time_rank(*rank, options->device, *options->shape, report);
  print_table(report, std::cout);
  if (!options->json.empty()) {
    std::ofstream out(options->json);
    write_json(report, out);
    out.close();
    if (!out) {
      std::cerr << "octet-gpu-check: cannot write " << options->json << "\n";
      return 1;
    }
  }
  const bool all_right = std::ranges::all_of(report.checks, [](const auto& c) { return c.problem.empty(); });
  return all_right ? 0 : 1;
}

}  // namespace octet::gpu_check
