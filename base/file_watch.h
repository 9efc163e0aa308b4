// Files of settings that may change while a process runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"

namespace octet {

// All of a file of at most max_bytes; never waits for a writer. Errors: INVALID_ARGUMENT "PATH cannot be
// read: why".
absl::StatusOr<std::string> read_small_file(const std::string& path, size_t max_bytes);

// Notices when one of some files is written or replaced. One thread at a time.
class FileWatch {
 public:
  // Looks at most once in look_period. Empty paths are left out.
  FileWatch(std::vector<std::string> paths, Duration look_period);
  // Since the last call, or since it was made. Asked before the files are read, it sees a later change next
  // time.
  bool changed();

 private:
  // Of each file: device, inode, size, time of the last change.
  using Stamp = std::vector<std::tuple<uint64_t, uint64_t, int64_t, int64_t, int64_t>>;
  Stamp stamp() const;

  const std::vector<std::string> paths_;
  const Duration look_period_;
  Stamp seen_;
  Time last_look_;
};

}  // namespace octet
