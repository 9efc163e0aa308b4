#include "router/grammar/code_points.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/utf8.h"

namespace octet::router {
namespace {

bool is_in(const std::string& bytes, const std::vector<ByteRanges>& all) {
  return std::any_of(all.begin(), all.end(), [&](const ByteRanges& ranges) {
    if (ranges.size() != bytes.size()) return false;
    for (size_t i = 0; i < bytes.size(); ++i) {
      const auto byte = static_cast<uint8_t>(bytes[i]);
      if (byte < ranges[i].first || byte > ranges[i].second) return false;
    }
    return true;
  });
}

TEST(CodePoints, ByteRangesAreThoseOfTheSetsCharacters) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<CodePoints::Range> ranges;
    for (int i = 0; i < 3; ++i) {
      const auto any = [&] {
        return static_cast<uint32_t>(random() % (1U << (7 + random() % 15))) % (kMaxCodePoint + 1);
      };
      const uint32_t a = any();
      const uint32_t b = any();
      ranges.push_back({.first = std::min(a, b), .last = std::max(a, b)});
    }
    const CodePoints set(ranges);
    const auto bytes = utf8_ranges(set);
    for (uint32_t c = 0; c <= kMaxCodePoint; c += 1 + random() % 997) {
      std::string character;
      append_utf8(c, character);
      if (!is_valid_utf8(character)) continue;
      ASSERT_EQ(set.contains(c), is_in(character, bytes)) << c;
      ASSERT_NE(set.contains(c), set.complement().contains(c)) << c;
      std::string_view left = character;
      ASSERT_EQ(take_code_point(left), c);
    }
  }
}

TEST(CodePoints, HaveNoSurrogates) {
  EXPECT_TRUE(CodePoints({{0xD800, 0xDFFF}}).empty());
  const std::vector<CodePoints::Range> expected = {{0xD000, 0xD7FF}, {0xE000, 0xE001}};
  EXPECT_EQ(CodePoints({{0xD000, 0xE001}}).ranges(), expected);
  EXPECT_EQ(CodePoints::all().complement().ranges().size(), 0U);
  EXPECT_EQ(CodePoints::all().without({{'b', 'c'}}).ranges().size(), 3U);
}

}  // namespace
}  // namespace octet::router
