#include "router/grammar/ebnf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/router/grammar/grammar_testing.h"

namespace octet::router {
namespace {

using testing::HasSubstr;

constexpr const char* kSums = R"EBNF(
# sums of numbers
root   ::= number rest*     # at least one
rest   ::= (" + " | " - ")
           ( number
           | "(" root ")" )
number ::= [1-9] digit{0,2} | "0"
digit  ::= [0-9]
)EBNF";

TEST(Ebnf, MatchesTheRuleRoot) {
  auto grammar = *CompiledGrammar::compile(ebnf(kSums));
  for (const char* text : {"0", "12 + 3", "7 - (1 + 999)", "1 + (2 - (3)) - 4"}) {
    EXPECT_TRUE(grammar.matches(text)) << text;
  }
  for (const char* text : {"", "01", "1 +", "1234", "1+2", "1 + (2"})
    EXPECT_FALSE(grammar.matches(text)) << text;
}

TEST(Ebnf, ReadsEscapesAndEmptyAlternatives) {
  auto grammar =
      *CompiledGrammar::compile(ebnf(R"(root ::= "a\"\n\x41é" ( | [\]\-^] ) other-1  other-1::="")"));
  EXPECT_TRUE(grammar.matches("a\"\nAé"));
  EXPECT_TRUE(grammar.matches("a\"\nAé]"));
  EXPECT_TRUE(grammar.matches("a\"\nAé^"));
}

TEST(Ebnf, RefusesByName) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "has no rule root"},
      {"x ::= \"a\"", "has no rule root"},
      {"root ::= y", "has no rule y"},
      {"root ::= \"a\" root ::= \"b\"", "defines rule root again"},
      {"root ::= root \"a\" | \"b\"", "rule root can begin with itself"},
      {"root ::= x* y y ::= \"a\" x ::= root", "can begin with itself"},
      {"root ::= \"a", "literal that is not closed"},
      {"root ::= (\"a\"", "parenthesis that is not closed"},
      {"root ::= \"a\")", "closes a parenthesis that is not open"},
      {"root = \"a\"", "needs ::="},
      {"root ::= %", "begins nothing at byte 9"},
      {"root ::= \"\\d\"", "class in a literal"},
      {"root ::= \"a\" root", "matches no text"},
  };
  for (const auto& [source, message] : cases)
    EXPECT_THAT(refusal(ebnf(source)), HasSubstr(message)) << source;
}

}  // namespace
}  // namespace octet::router
