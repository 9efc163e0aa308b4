#include "router/grammar/compile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/byte_automaton.h"
#include "base/status.h"
#include "tests/router/grammar/grammar_testing.h"

namespace octet::router {
namespace {

using testing::HasSubstr;

Expression letter(char c) {
  return text({&c, 1});
}

TEST(Compile, CountsRepetitions) {
  auto grammar = CompiledGrammar::of(repeat(letter('a'), 2, 4));
  for (size_t n = 0; n < 8; ++n) EXPECT_EQ(grammar.matches(std::string(n, 'a')), n >= 2 && n <= 4) << n;
  EXPECT_FALSE(grammar.may_begin_with("aaaaa"));

  auto unlimited = CompiledGrammar::of(repeat(letter('a'), 3, Expression::kNoLimit));
  for (size_t n = 0; n < 8; ++n) EXPECT_EQ(unlimited.matches(std::string(n, 'a')), n >= 3) << n;
}

TEST(Compile, CountsRepetitionsOfRepetitionsWithoutTheirProduct) {
  auto grammar = CompiledGrammar::of(repeat(repeat(letter('a'), 300, 300), 300, 300));
  EXPECT_LT(grammar.num_bytes(), 100U);
  EXPECT_FALSE(grammar.matches(std::string(89'999, 'a')));
  EXPECT_TRUE(grammar.matches(std::string(90'000, 'a')));
  EXPECT_FALSE(grammar.may_begin_with(std::string(90'001, 'a')));
}

TEST(Compile, RepetitionsOfWhatMayBeEmptyEnd) {
  for (const uint32_t max : {Expression::kNoLimit, 1U, 5U}) {
    for (const uint32_t min : {0U, 1U}) {
      auto grammar = CompiledGrammar::of(sequence(
          {repeat(sequence({optional(letter('a')), optional(letter('b'))}), min, max), letter('c')}));
      EXPECT_TRUE(grammar.matches("c"));
      EXPECT_TRUE(grammar.matches("abc"));
      EXPECT_EQ(grammar.matches("ababbc"), max != 1);
      EXPECT_EQ(grammar.matches("aaaaaaac"), max == Expression::kNoLimit);
    }
  }
}

TEST(Compile, RulesCallThemselves) {
  // pairs ::= "(" pairs ")" pairs | ""
  const Grammar grammar = {
      .rules = {{.name = "pairs", .body = optional(sequence({letter('('), call(0), letter(')'), call(0)}))}}};
  auto compiled = CompiledGrammar::of(grammar);
  for (const char* balanced : {"", "()", "()()", "(()(()))"})
    EXPECT_TRUE(compiled.matches(balanced)) << balanced;
  for (const char* unbalanced : {")", "())", "(()"}) EXPECT_FALSE(compiled.matches(unbalanced)) << unbalanced;
}

TEST(Compile, DepthIsLimitedAndNeverADeadEnd) {
  const Grammar grammar = {
      .rules = {{.name = "nest", .body = optional(sequence({letter('('), call(0), letter(')')}))}}};
  auto compiled = CompiledGrammar::of(grammar);
  const std::string deepest(kMaxAutomatonDepth, '(');
  EXPECT_TRUE(compiled.matches(deepest + std::string(kMaxAutomatonDepth, ')')));
  EXPECT_FALSE(compiled.may_begin_with(deepest + "(("));
}

TEST(Compile, RightRecursionTakesNoDepth) {
  // list ::= "a" list | "b"
  const Grammar grammar = {
      .rules = {{.name = "list", .body = choice({sequence({letter('a'), call(0)}), letter('b')})}}};
  auto compiled = CompiledGrammar::of(grammar);
  EXPECT_TRUE(compiled.matches(std::string(10'000, 'a') + 'b'));
  EXPECT_LT(compiled.matcher().kept_bytes(), 10'000U);
}

TEST(Compile, RefusesRulesThatBeginWithThemselves) {
  const Grammar direct = {.rules = {{.name = "rule a", .body = choice({call(0), letter('x')})}}};
  EXPECT_THAT(text_of(compile(direct).status()), HasSubstr("rule a can begin with itself"));
  // Over another rule, behind what may be empty, inside a repetition; a third rule is only behind the circle.
  const Grammar hidden = {
      .rules = {{.name = "rule a", .body = choice({letter('x'), call(1), call(2)})},
                {.name = "rule b", .body = repeat(sequence({optional(letter('y')), call(1)}), 2, 3)},
                {.name = "rule c", .body = letter('z')}}};
  EXPECT_THAT(text_of(compile(hidden).status()), HasSubstr("rule b can begin with itself"));
}

TEST(Compile, RefusesWhatMatchesNothing) {
  EXPECT_THAT(text_of(compile({.rules = {{.name = "a", .body = choice({})}}}).status()),
              HasSubstr("matches no text"));
  const Grammar endless = {.rules = {{.name = "a", .body = sequence({letter('x'), call(0)})}}};
  EXPECT_THAT(text_of(compile(endless).status()), HasSubstr("matches no text"));
}

TEST(Compile, WaysThatLeadNowhereAreNotBegun) {
  auto grammar = CompiledGrammar::of(choice({sequence({text("ab"), choice({})}), text("ac")}));
  EXPECT_TRUE(grammar.may_begin_with("ac"));
  EXPECT_FALSE(grammar.may_begin_with("ab"));
}

TEST(Compile, RefusesLargeAutomatons) {
  Grammar grammar;
  for (uint32_t i = 0; i < 2000; ++i) {
    grammar.rules.push_back({.name = "", .body = text(std::string(200, static_cast<char>('a' + i % 26)))});
  }
  EXPECT_THAT(text_of(compile(grammar).status()), HasSubstr("is too large"));
}

TEST(Compile, ManyTextsAreOneWay) {
  std::vector<Expression> texts;
  for (int i = 0; i < 4000; ++i) texts.push_back(text("name" + std::to_string(i)));
  auto grammar = CompiledGrammar::of(choice(texts));
  EXPECT_TRUE(grammar.matches("name7"));
  EXPECT_TRUE(grammar.matches("name3999"));
  EXPECT_FALSE(grammar.matches("name4000"));
  EXPECT_FALSE(grammar.may_begin_with("nam1"));
}

}  // namespace
}  // namespace octet::router
