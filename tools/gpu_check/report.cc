#include "tools/gpu_check/report.h"

#include <algorithm>
#include <iomanip>
#include <ostream>

namespace octet::gpu_check {
namespace {

// Names are ours and devices' and have no control characters.
std::string quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

template <typename Items, typename Write>
void write_list(std::ostream& out, const Items& items, const Write& write) {
  out << "[";
  for (size_t i = 0; i < items.size(); ++i) {
    out << (i == 0 ? "\n    " : ",\n    ");
    write(items[i]);
  }
  out << (items.empty() ? "]" : "\n  ]");
}

}  // namespace

double share_of_peak(const Peaks& peaks, const Measurement& m) {
  const double least =
      std::max(m.bytes / peaks.copy_bytes_per_second, m.operations / peaks.gemm_operations_per_second);
  return m.seconds > 0 ? least / m.seconds : 0;
}

void print_table(const Report& report, std::ostream& out) {
  const auto num_wrong =
      std::ranges::count_if(report.checks, [](const auto& c) { return !c.problem.empty(); });
  out << report.device << ", seed " << report.seed << "\n"
      << report.checks.size() << " checks against the oracle, " << num_wrong << " wrong\n";
  for (const CheckResult& check : report.checks) {
    if (!check.problem.empty()) out << "  WRONG " << check.name << ": " << check.problem << "\n";
  }
  if (report.measurements.empty()) return;
  out << std::fixed << std::setprecision(1) << "copy " << report.peaks.copy_bytes_per_second / 1e9
      << " GB/s read and written, product " << report.peaks.gemm_operations_per_second / 1e12
      << " TFLOP/s; a rank of " << report.shape << ":\n";
  for (const Measurement& m : report.measurements) {
    out << "  " << std::left << std::setw(44) << m.name << std::right << std::setw(12) << m.seconds * 1e6
        << " us " << std::setw(9) << m.bytes / m.seconds / 1e9 << " GB/s " << std::setw(8)
        << m.operations / m.seconds / 1e12 << " TFLOP/s " << std::setw(6)
        << 100 * share_of_peak(report.peaks, m) << " %\n";
  }
  for (const std::string& line : report.left_out) out << "  left out: " << line << "\n";
}

void write_json(const Report& report, std::ostream& out) {
  out << std::setprecision(6) << std::defaultfloat << "{\n  \"device\": " << quoted(report.device)
      << ",\n  \"shape\": " << quoted(report.shape) << ",\n  \"seed\": " << report.seed
      << ",\n  \"checks\": ";
  write_list(out, report.checks, [&](const CheckResult& check) {
    out << "{\"name\": " << quoted(check.name) << ", \"problem\": " << quoted(check.problem) << "}";
  });
  out << ",\n  \"copy_bytes_per_second\": " << report.peaks.copy_bytes_per_second
      << ",\n  \"gemm_operations_per_second\": " << report.peaks.gemm_operations_per_second
      << ",\n  \"measurements\": ";
  write_list(out, report.measurements, [&](const Measurement& m) {
    out << "{\"name\": " << quoted(m.name) << ", \"seconds\": " << m.seconds << ", \"bytes\": " << m.bytes
        << ", \"operations\": " << m.operations << ", \"share\": " << share_of_peak(report.peaks, m) << "}";
  });
  out << ",\n  \"left_out\": ";
  write_list(out, report.left_out, [&](const std::string& line) { out << quoted(line); });
  out << "\n}\n";
}

}  // namespace octet::gpu_check
