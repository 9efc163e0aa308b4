// Ways of reading much memory once, of which the best is the machine's read bandwidth.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace octet::bench {

struct ReadPattern {
  std::string name;
  bool huge_pages = false;
  size_t num_streams = 1;     // that a thread reads in step
  size_t prefetch_bytes = 0;  // how far ahead; 0: the hardware alone
};

std::vector<ReadPattern> read_patterns();

// Best of a few passes in bytes per second; 0 when there is no memory for it. num_bytes is far more than the
// caches hold.
double read_bytes_per_second(const ReadPattern& pattern, int num_threads, size_t num_bytes);

}  // namespace octet::bench
