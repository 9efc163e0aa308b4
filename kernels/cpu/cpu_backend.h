// The CPU backend: all ranks of a stage live in one process, each an own Backend with its own threads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend.h"

namespace octet::kernels {

// The instruction set the kernels use. All give the same bits.
enum class CpuIsa {
  kBest,        // the widest that this machine has
  kAvx2,        // AVX2 and FMA
  kAvx512,      // AVX-512 F, BW, DQ and VL
  kAvx512Bf16,  // and BF16, VNNI and VBMI
};

// By the words that flags have for them: avx2, avx512, avx512_bf16; any other is kBest.
CpuIsa cpu_isa_named(std::string_view name);

struct CpuOptions {
  int num_ranks = 1;         // tensor-parallel ranks of the stage, 1..kMaxCpuRanks
  int threads_per_rank = 1;  // compute threads of a rank, the calling one included, 1..kMaxCpuThreadsPerRank
  CpuIsa isa = CpuIsa::kBest;
  // Rank r's thread t > 0 is pinned to cpus[(r * threads_per_rank + t) % size]; empty: none is. Thread 0 is
  // the caller's.
  std::vector<int> cpus = {};
};

inline constexpr int kMaxCpuRanks = 64;
inline constexpr int kMaxCpuThreadsPerRank = 256;

// Why make_cpu_ranks() cannot serve these options on this machine, as one line for the operator; nothing if
// it can.
std::optional<std::string> find_problem(const CpuOptions& options);

// The stage's ranks 0 .. num_ranks - 1. They share a communicator, so each must be called from a thread of
// its own. Requires find_problem(options) == nullopt. Ends the process if the system refuses the threads.
std::vector<std::unique_ptr<Backend>> make_cpu_ranks(const CpuOptions& options);

}  // namespace octet::kernels
