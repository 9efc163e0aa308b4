// Logs how far the packing of a stage's weights is. Its ranks tell it from their threads.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "kernels/packed_weight.h"

namespace octet::worker {

class LoadProgress {
 public:
  explicit LoadProgress(int64_t num_matrices) : num_matrices_(num_matrices) {}

  // One matrix more, of so many bytes in the checkpoint. Logs a line each two seconds.
  void add(int64_t stored_bytes, const kernels::PackedWeight& packed);

  // The last line, if there was anything to pack.
  void finish() const;

  int64_t packed_bytes() const { return packed_bytes_; }

 private:
  std::string summary() const;

  const int64_t num_matrices_;
  const Time began_ = now();

  std::mutex mutex_;
  Time last_line_ = began_;
  int64_t num_done_ = 0;
  int64_t stored_bytes_ = 0;
  int64_t packed_bytes_ = 0;
  std::array<bool, 3> formats_{};  // that occurred, by WeightFormat
};

}  // namespace octet::worker
