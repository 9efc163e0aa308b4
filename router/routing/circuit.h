// Whether a pipeline that failed sequence after sequence is to be tried again (Nygard 2007, "Release It!").
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "router/routing/backoff.h"

namespace octet::router {

// Closed, it lets everything through. After so many failures with no success between it opens and lets
// nothing through for a while; then one probe at a time, each as long after the other as it was open. The
// first success closes it; a failure opens it for twice as long. Arithmetic only.
class Circuit {
 public:
  struct Limits {
    uint32_t max_failures = 5;
    Duration min_open = std::chrono::seconds(1);
    Duration max_open = std::chrono::minutes(1);
  };
  explicit Circuit(const Limits& limits) : limits_(limits) {}

  bool allows(Time now) const { return !open_until_ || now >= std::max(*open_until_, next_probe_); }
  bool is_closed() const { return !open_until_; }

  // A sequence was let through.
  void started(Time now) {
    if (open_until_) next_probe_ = now + open_for_;
  }
  // Nothing has failed of late, so that succeeded() would change nothing.
  bool is_clean() const { return num_failures_ == 0 && !open_until_; }
  // What was let through before it opened tells nothing.
  void succeeded(Time now) {
    if (open_until_ && now < *open_until_) return;
    num_failures_ = 0;
    open_until_.reset();
    open_for_ = {};
  }
  // Returns for how long it opens, if it does. random: 64 random bits; half of the time is random.
  std::optional<Duration> failed(Time now, uint64_t random) {
    if (open_until_ && now < *open_until_) return std::nullopt;
    ++num_failures_;
    if (!open_until_ && num_failures_ < limits_.max_failures) return std::nullopt;
    longest_ = open_until_ ? std::min(2 * longest_, limits_.max_open) : limits_.min_open;
    open_for_ = half_random(longest_, random);
    open_until_ = now + open_for_;
    next_probe_ = *open_until_;
    return open_for_;
  }

 private:
  const Limits limits_;
  uint32_t num_failures_ = 0;  // in a row
  std::optional<Time> open_until_;
  Time next_probe_;
  Duration longest_{};
  Duration open_for_{};
};

}  // namespace octet::router
