// Sets of Unicode code points (without surrogates), and their bytes in UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace octet::router {

inline constexpr uint32_t kMaxCodePoint = 0x10FFFF;

class CodePoints {
 public:
  struct Range {
    uint32_t first = 0;  // both inclusive
    uint32_t last = 0;
    bool operator==(const Range&) const = default;
  };

  CodePoints() = default;
  CodePoints(std::initializer_list<Range> ranges) : CodePoints(std::vector<Range>(ranges)) {}
  // In any order.
  explicit CodePoints(std::vector<Range> ranges) : ranges_(std::move(ranges)) { normalise(); }
  static CodePoints all() { return {{0, kMaxCodePoint}}; }

  void add(const CodePoints& others);
  CodePoints complement() const;
  CodePoints without(const CodePoints& others) const;
  bool contains(uint32_t code_point) const;
  bool empty() const { return ranges_.empty(); }

  // Rising, with gaps between them, without surrogates.
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  void normalise();
  std::vector<Range> ranges_;
};

// The bytes of one character each, as a list of bytes' ranges.
using ByteRanges = std::vector<std::pair<uint8_t, uint8_t>>;
// Together exactly the set's characters; no two share a character.
std::vector<ByteRanges> utf8_ranges(const CodePoints& set);

void append_utf8(uint32_t code_point, std::string& out);
// The code point at the front of text, which is valid UTF-8 and not empty; takes it off.
uint32_t take_code_point(std::string_view& text);

}  // namespace octet::router
