// Loops of nothing but one vector instruction, on independent registers: its peak rate.
#pragma once

#include <cstdint>
#include <vector>

namespace octet::bench {

struct ComputeLoop {
  const char* name;                 // "fma", "bf16", "int8"
  void (*run)(int64_t iterations);  // on the calling thread
  double operations_per_iteration;
};

// Those that this processor can run, the widest form of each.
std::vector<ComputeLoop> compute_loops();

}  // namespace octet::bench
