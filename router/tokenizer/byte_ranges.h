// Ascending ranges of bytes in a text: those that a client wrote, in which special pieces stay text.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace octet::router {

class ByteRanges {
 public:
  // Appends [begin, end), which must not begin before the end of the last one.
  void append(size_t begin, size_t end) {
    if (begin == end) return;
    if (!ranges_.empty() && ranges_.back().second == begin) {
      ranges_.back().second = end;
    } else {
      ranges_.emplace_back(begin, end);
    }
  }

  // Answers questions from left to right, in constant time on average.
  class Walk {
   public:
    explicit Walk(const ByteRanges& ranges) : ranges_(ranges.ranges_) {}
    // Whether any byte of [begin, end) is in a range; begin must not be smaller than in the question before.
    bool touches(size_t begin, size_t end) {
      while (next_ < ranges_.size() && ranges_[next_].second <= begin) ++next_;
      return next_ < ranges_.size() && ranges_[next_].first < end;
    }

   private:
    const std::vector<std::pair<size_t, size_t>>& ranges_;
    size_t next_ = 0;
  };

 private:
  std::vector<std::pair<size_t, size_t>> ranges_;
};

}  // namespace octet::router
