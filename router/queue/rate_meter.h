// How much gets done a second while there is something to do, over the recent past.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace octet::router {

// What is older counts less, by 1/e in kMemory; idle time counts for nothing.
class RateMeter {
 public:
  // Whether there is something to do from now on.
  void set_busy(bool busy, Time now) {
    advance(now);
    busy_ = busy;
  }
  void add(double amount, Time now) {
    advance(now);
    amount_ += amount;
  }
  // Absent until enough was seen to rely on, and again when that was long ago.
  std::optional<double> per_second(Time now) {
    advance(now);
    if (busy_seconds_ < kMinBusySeconds || amount_ <= 0) return std::nullopt;
    return amount_ / busy_seconds_;
  }

 private:
  static constexpr double kMemorySeconds = 10;
  static constexpr double kMinBusySeconds = 1;

  void advance(Time now) {
    const double elapsed = now > last_ ? seconds(now - last_) : 0;
    if (elapsed == 0) return;
    const double kept = std::exp(-elapsed / kMemorySeconds);
    amount_ *= kept;
    // The integral of what is kept of each moment since.
    busy_seconds_ = busy_seconds_ * kept + (busy_ ? kMemorySeconds * (1 - kept) : 0);
    last_ = now;
  }

  bool busy_ = false;
  double amount_ = 0;
  double busy_seconds_ = 0;
  Time last_;
};

}  // namespace octet::router
