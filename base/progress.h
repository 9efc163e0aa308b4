// Whether a process gets on with its work: what the health services "progress" and "live" say.
#pragma once

#include <optional>

#include "base/clock.h"

namespace octet {

// Arithmetic only; the owner looks regularly and tells what it sees.
class Progress {
 public:
  // A process that makes no progress for so long does not come back by itself: better restarted.
  static constexpr Duration kLifeless = std::chrono::minutes(1);

  // Returns whether that is news.
  bool set(bool progressing, Time now) {
    const bool is_news = progressing != progressing_;
    progressing_ = progressing;
    if (is_news) since_ = now;
    return is_news;
  }
  bool progressing() const { return progressing_; }
  bool live(Time now) const { return progressing_ || now - since_ < kLifeless; }

 private:
  bool progressing_ = true;
  Time since_;
};

}  // namespace octet
