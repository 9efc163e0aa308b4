// What this machine can do at best: the marks that kernels are measured against. Measured, since a data sheet
// does not know the neighbours of a virtual machine.
#pragma once

#include <string>

namespace octet::bench {

// Of all threads together. A rate is 0 where the machine lacks the instruction.
struct MachinePeaks {
  double read_bytes_per_second = 0;  // best of several patterns over memory far larger than the caches
  std::string read_pattern;          // the one that was best
  double fma_flops = 0;              // fp32 multiply and add, of the widest vectors there are
  double bf16_flops = 0;             // vdpbf16ps
  double int8_ops = 0;               // vpdpbusd (VNNI): multiplications and additions
};

// Takes about five seconds. num_threads >= 1, each kept on a CPU of its own as far as there are enough.
MachinePeaks measure_machine(int num_threads);

// As a JSON object.
std::string peaks_json(const MachinePeaks& peaks, int num_threads);

}  // namespace octet::bench
