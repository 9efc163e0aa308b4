#include "router/grammar/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/router/grammar/grammar_testing.h"

namespace octet::router {
namespace {

using testing::HasSubstr;

// test_grammar_properties.py compares with Python's re; here are the corners.
TEST(Regex, MatchesWholeTexts) {
  auto grammar = *CompiledGrammar::compile(regex(R"(^(\d{3}-)?[a-c]+\.(?:x|yz?)$)"));
  for (const char* text : {"a.x", "123-abc.yz", "cc.y"}) EXPECT_TRUE(grammar.matches(text)) << text;
  for (const char* text : {"", "12-a.x", "a.xx", "d.x", "a.x\n", " a.x"})
    EXPECT_FALSE(grammar.matches(text)) << text;
}

TEST(Regex, KnowsCharactersBeyondAscii) {
  auto grammar = *CompiledGrammar::compile(regex("[à-ü]+.\\u20ac[^a-z]"));
  EXPECT_TRUE(grammar.matches("éè日€Ω"));
  EXPECT_FALSE(grammar.matches("éè日€z"));
  EXPECT_FALSE(grammar.may_begin_with("éè\xE2\x82\xE2"));
  EXPECT_FALSE(grammar.may_begin_with("\xC3\x28"));
}

TEST(Regex, BracesThatRepeatNothingAreCharacters) {
  auto grammar = *CompiledGrammar::compile(regex("a{b{1,2}[]x-]"));
  EXPECT_TRUE(grammar.matches("a{b]"));
  EXPECT_TRUE(grammar.matches("a{bb-"));
}

TEST(Regex, RefusesByName) {
  const std::pair<const char*, const char*> cases[] = {
      {"(a", "parenthesis that is not closed at byte 2"},
      {"a)", "closes a parenthesis that is not open"},
      {"[a", "bracket that is not closed"},
      {"[z-a]", "range in brackets"},
      {"[a-\\d]", "range in brackets"},
      {"*a", "repeats nothing"},
      {"a**", "repeats a repetition"},
      {"a++", "possessive"},
      {"a{3,2}", "end is below its start"},
      {"a{1000001}", "repeats more than 1000000 times"},
      {"a{99999999999}", "repeats more than 1000000 times"},
      {"(?=a)", "look-around"},
      {"(?<!a)b", "look-around"},
      {"(?i)a", "flag"},
      {"(a)\\1", "back reference"},
      {"\\bword\\b", "anchor \\b"},
      {"a^b", "anchor inside"},
      {"a$b", "anchor inside"},
      {"(a$)", "anchor inside"},
      {"\\p{L}", "escape \\p"},
      {"\\x4", "2 hexadecimal digits"},
      {"\\ud800", "4 hexadecimal digits of a character"},
      {"a\\", "ends too early"},
      {"", "must not be empty"},
      {"\xff", "valid UTF-8"},
  };
  for (const auto& [source, message] : cases) {
    EXPECT_THAT(refusal(regex(source)), testing::AllOf(testing::StartsWith("regex: "), HasSubstr(message)))
        << source;
  }
}

TEST(Regex, NestingIsLimited) {
  const auto nested = [](size_t depth) { return std::string(depth, '(') + 'a' + std::string(depth, ')'); };
  EXPECT_EQ(refusal(regex(nested(100))), "");
  EXPECT_THAT(refusal(regex(nested(101))), HasSubstr("more than 100 parentheses"));
  EXPECT_THAT(refusal(regex(std::string(60'000, '('))), HasSubstr("more than 100 parentheses"));
}

}  // namespace
}  // namespace octet::router
