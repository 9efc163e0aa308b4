// Resident memory of other processes on this machine, sampled during a run.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace octet::bench {

// VmRSS of a /proc/PID/status page. Absent when there is no such line.
std::optional<uint64_t> resident_bytes_of_page(absl::string_view page);

// Errors: NOT_FOUND when the process is gone.
absl::StatusOr<uint64_t> resident_bytes(pid_t pid);

// A watched process: its resident memory when a tenth of the requests is done, and at the end.
struct WatchedProcess {
  pid_t pid = 0;
  std::string name;
  std::optional<uint64_t> early_bytes;
  std::optional<uint64_t> final_bytes;
};

// Errors: NOT_FOUND when there is no such process.
absl::StatusOr<WatchedProcess> watch_process(pid_t pid);

}  // namespace octet::bench
