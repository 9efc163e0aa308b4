// What was measured, beside what the device can do.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "tools/gpu_check/check_ops.h"

namespace octet::gpu_check {

// What the device reaches in the two things that bound a model, measured.
struct Peaks {
  double copy_bytes_per_second = 0;       // read and written, of a copy on the device
  double gemm_operations_per_second = 0;  // of a large bf16 product
};

struct Measurement {
  std::string name;
  double seconds = 0;
  double bytes = 0;       // that have to move at least
  double operations = 0;  // on tensor cores
};

// The least time over the time taken: of the bytes at the copy's rate or the operations at the product's,
// whichever is longer.
double share_of_peak(const Peaks& peaks, const Measurement& measurement);

struct Report {
  std::string device;
  std::string shape;
  uint64_t seed = 0;
  std::vector<CheckResult> checks;
  Peaks peaks;
  std::vector<Measurement> measurements;
  std::vector<std::string> left_out;  // with the reason
};

void print_table(const Report& report, std::ostream& out);
void write_json(const Report& report, std::ostream& out);

}  // namespace octet::gpu_check
