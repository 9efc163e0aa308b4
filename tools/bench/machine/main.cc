// octet-bench-machine: measures read bandwidth and peak arithmetic of this machine, and prints them as JSON.
// usage: octet-bench-machine [THREADS]     default 2
#include <cstdio>
#include <cstdlib>

#include "tools/bench/machine/machine_peaks.h"

int main(int argc, char** argv) {
  const int num_threads = argc > 1 ? std::atoi(argv[1]) : 2;
  if (argc > 2 || num_threads < 1 || num_threads > 1024) {
    std::fprintf(stderr, "usage: octet-bench-machine [THREADS]\n");
    return 2;
  }
  std::printf("%s\n",
              octet::bench::peaks_json(octet::bench::measure_machine(num_threads), num_threads).c_str());
  return 0;
}
