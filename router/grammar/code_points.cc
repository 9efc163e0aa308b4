#include "router/grammar/code_points.h"

#include <algorithm>

#include "base/utf8.h"

namespace octet::router {
namespace {

constexpr uint32_t kFirstSurrogate = 0xD800;
constexpr uint32_t kLastSurrogate = 0xDFFF;
constexpr uint32_t kLastOfLength[] = {0x7F, 0x7FF, 0xFFFF, kMaxCodePoint};  // in UTF-8 bytes, from 1

// A range whose characters have as many bytes each. It is cut until each byte's range is free of the others'.
void add_ranges(uint32_t first, uint32_t last, std::vector<ByteRanges>& out) {
  std::string low;
  std::string high;
  append_utf8(first, low);
  append_utf8(last, high);
  for (size_t num_free = low.size() - 1; num_free > 0; --num_free) {
    const uint32_t mask = (1U << 6 * num_free) - 1;  // of the code point's bits in the last num_free bytes
    if ((first & ~mask) == (last & ~mask)) continue;
    if ((first & mask) != 0) {
      add_ranges(first, first | mask, out);
      return add_ranges((first | mask) + 1, last, out);
    }
    if ((last & mask) != mask) {
      add_ranges(first, (last & ~mask) - 1, out);
      return add_ranges(last & ~mask, last, out);
    }
  }
  ByteRanges& bytes = out.emplace_back();
  for (size_t i = 0; i < low.size(); ++i) {
    bytes.emplace_back(static_cast<uint8_t>(low[i]), static_cast<uint8_t>(high[i]));
  }
}

}  // namespace

void CodePoints::add(const CodePoints& others) {
  ranges_.insert(ranges_.end(), others.ranges_.begin(), others.ranges_.end());
  normalise();
}

CodePoints CodePoints::complement() const {
  CodePoints result;
  uint32_t next = 0;
  for (const Range& range : ranges_) {
    if (range.first > next) result.ranges_.push_back({.first = next, .last = range.first - 1});
    next = range.last + 1;
  }
  if (next <= kMaxCodePoint) result.ranges_.push_back({.first = next, .last = kMaxCodePoint});
  result.normalise();
  return result;
}

CodePoints CodePoints::without(const CodePoints& others) const {
  CodePoints outside = complement();
  outside.add(others);
  return outside.complement();
}

bool CodePoints::contains(uint32_t code_point) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& range) {
    return range.first <= code_point && code_point <= range.last;
  });
}

void CodePoints::normalise() {
  std::vector<Range> parts;
  for (const Range& range : ranges_) {
    const uint32_t before = std::min(range.last, kFirstSurrogate - 1);
    const uint32_t after = std::max(range.first, kLastSurrogate + 1);
    if (range.first <= before) parts.push_back({.first = range.first, .last = before});
    if (after <= range.last) parts.push_back({.first = after, .last = range.last});
  }
  std::sort(parts.begin(), parts.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  ranges_.clear();
  for (const Range& part : parts) {
    if (!ranges_.empty() && part.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, part.last);
    } else {
      ranges_.push_back(part);
    }
  }
}

std::vector<ByteRanges> utf8_ranges(const CodePoints& set) {
  std::vector<ByteRanges> result;
  for (const CodePoints::Range& range : set.ranges()) {
    uint32_t first = range.first;
    for (const uint32_t last_of_length : kLastOfLength) {
      if (first > range.last || first > last_of_length) continue;
      add_ranges(first, std::min(range.last, last_of_length), result);
      first = last_of_length + 1;
    }
  }
  return result;
}

void append_utf8(uint32_t code_point, std::string& out) {
  const auto append = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) return append(code_point);
  if (code_point < 0x800) {
    append(0xC0 | code_point >> 6);
  } else {
    if (code_point < 0x10000) {
      append(0xE0 | code_point >> 12);
    } else {
      append(0xF0 | code_point >> 18);
      append(0x80 | (code_point >> 12 & 0x3F));
    }
    append(0x80 | (code_point >> 6 & 0x3F));
  }
  append(0x80 | (code_point & 0x3F));
}

uint32_t take_code_point(std::string_view& text) {
  const size_t num_bytes = scan_utf8(text).num_bytes;
  const auto lead = static_cast<unsigned char>(text.front());
  uint32_t code_point = num_bytes == 1 ? lead : lead & (0xFFU >> (num_bytes + 1));
  for (const char byte : text.substr(1, num_bytes - 1)) {
    code_point = code_point << 6 | (static_cast<unsigned char>(byte) & 0x3FU);
  }
  text.remove_prefix(num_bytes);
  return code_point;
}

}  // namespace octet::router
