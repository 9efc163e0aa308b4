// How fast a sequence gets its tokens on its pipeline.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace octet::router {

class DecodePace {
 public:
  void add(uint32_t num_tokens, Time now) {
    if (first_) num_after_first_ += num_tokens;
    if (!first_) first_ = now;
    last_ = now;
  }

  // Whether so many more tokens, at the pace so far, come in half of the time that is left until `end`. No
  // pace is known before the second message with tokens.
  bool fits(uint32_t num_tokens, Time now, Time end) const {
    if (num_after_first_ == 0 || end <= now) return false;
    const double seconds_a_token = seconds(last_ - *first_) / num_after_first_;
    return seconds_a_token * num_tokens <= seconds(end - now) / 2;
  }

 private:
  std::optional<Time> first_;
  Time last_;
  uint32_t num_after_first_ = 0;
};

}  // namespace octet::router
