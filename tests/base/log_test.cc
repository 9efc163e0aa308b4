#include "base/log.h"

#include <gtest/gtest.h>

namespace octet {
namespace {

TEST(LoggableTest, EscapesControlCharactersSoThatOneEventStaysOneLine) {
  EXPECT_EQ(loggable("a\nb\tc\x7f"), "a\\x0ab\\x09c\\x7f");
  EXPECT_EQ(loggable(std::string_view("\0x", 2)), "\\x00x");
}

TEST(LoggableTest, KeepsOtherTextAndCutsLongText) {
  EXPECT_EQ(loggable("Grüße"), "Grüße");
  EXPECT_EQ(loggable(std::string(200, 'x')), std::string(128, 'x') + "...");
  EXPECT_EQ(loggable("abcdef", 3), "abc...");
  EXPECT_EQ(loggable("abc", 3), "abc");
}

}  // namespace
}  // namespace octet
