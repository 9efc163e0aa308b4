#include "base/utf8.h"

#include <gtest/gtest.h>

#include <random>

namespace octet {
namespace {

std::string encode_by_definition(uint32_t c) {
  const auto byte = [](uint32_t b) { return static_cast<char>(b); };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xC0 | c >> 6), byte(0x80 | (c & 0x3F))};
  if (c < 0x10000) return {byte(0xE0 | c >> 12), byte(0x80 | (c >> 6 & 0x3F)), byte(0x80 | (c & 0x3F))};
  return {byte(0xF0 | c >> 18), byte(0x80 | (c >> 12 & 0x3F)), byte(0x80 | (c >> 6 & 0x3F)),
          byte(0x80 | (c & 0x3F))};
}

TEST(Utf8, AcceptsEveryCharacterAndRefusesSurrogates) {
  for (uint32_t c = 0; c <= 0x10FFFF; ++c) {
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    ASSERT_EQ(is_valid_utf8(encode_by_definition(c)), !surrogate) << std::hex << c;
  }
}

TEST(Utf8, EveryProperPrefixOfACharacterIsIncomplete) {
  for (const uint32_t c : {0x80U, 0x7FFU, 0x800U, 0xFFFDU, 0x10000U, 0x10FFFFU}) {
    const std::string character = encode_by_definition(c);
    for (size_t length = 1; length < character.size(); ++length) {
      const Utf8Scan scan = scan_utf8(std::string_view(character).substr(0, length));
      EXPECT_EQ(scan.front, Utf8Front::kIncomplete) << std::hex << c << " " << length;
      EXPECT_EQ(scan.num_bytes, length);
    }
  }
}

TEST(Utf8, RefusesWhatUnicodeForbids) {
  for (const std::string_view bad :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF", "\xC3(", "\xE2\x82(",
        "a\xE2\x82", "\xF0\x9F\x99"}) {
    EXPECT_FALSE(is_valid_utf8(bad)) << testing::PrintToString(bad);
  }
  EXPECT_TRUE(is_valid_utf8(""));
  EXPECT_TRUE(is_valid_utf8(std::string_view("\0", 1)));
}

TEST(Utf8, ReplacesEachBrokenByteAndKeepsTheRest) {
  EXPECT_EQ(replace_invalid_utf8("a\xE2\x82z\u00e9\xFF"), "a\uFFFD\uFFFDz\u00e9\uFFFD");
  EXPECT_EQ(replace_invalid_utf8("\xE2\x82\xAC"), "\u20AC");
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
}

TEST(Utf8, ReplacementOfRandomBytesIsValidAndChangesNothingTwice) {
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes(random() % 8, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() % 4 == 0 ? random() : 0x80 | random());
    const std::string text = replace_invalid_utf8(bytes);
    ASSERT_TRUE(is_valid_utf8(text));
    ASSERT_EQ(replace_invalid_utf8(text), text);
    ASSERT_EQ(text == bytes, is_valid_utf8(bytes));
  }
}

}  // namespace
}  // namespace octet
