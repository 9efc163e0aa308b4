#include "router/grammar/structured_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "base/byte_automaton.h"
#include "base/clock.h"
#include "base/status.h"
#include "tests/router/grammar/grammar_testing.h"

namespace octet::router {
namespace {

using testing::HasSubstr;

StructuredOutput choices(std::vector<std::string> texts) {
  return {
      .kind = StructuredOutput::Kind::kChoice, .source = "", .choices = std::move(texts), .field = "choice"};
}

TEST(StructuredOutput, ChoiceIsOneOfTheTexts) {
  auto grammar = *CompiledGrammar::compile(choices({"yes", "no", "yes, but"}));
  for (const char* text : {"yes", "no", "yes, but"}) EXPECT_TRUE(grammar.matches(text)) << text;
  for (const char* text : {"", "ye", "yes,", "maybe", " no"}) EXPECT_FALSE(grammar.matches(text)) << text;
  EXPECT_THAT(refusal(choices({})), HasSubstr("at least 1 entry"));
  EXPECT_THAT(refusal(choices({"a", ""})), HasSubstr("an entry is empty"));
  EXPECT_THAT(refusal(choices(std::vector<std::string>(4097, "a"))), HasSubstr("at most 4096 entries"));
}

// What costs other engines seconds or gigabytes. Each is refused or compiles, matches and fails in a moment;
// the limit is generous for machines under load.
TEST(StructuredOutput, HostileSourcesTakeAMoment) {
  std::string alternation = "(";
  for (int i = 0; i < 15'000; ++i) alternation += "a|";
  alternation += "a)*b";
  std::string optionals;
  for (int i = 0; i < 20'000; ++i) optionals += "a?";
  std::string rules = "root ::= r0\n";
  for (int i = 0; i < 1'000; ++i) {
    const std::string next = "r" + std::to_string(i + 1);
    rules += "r" + std::to_string(i) + " ::= " + next + " " + next + "\n";
  }
  rules += "r1000 ::= \"a\"?\n";
  std::string wide = R"({"oneOf": [{"enum": [)";
  for (int i = 0; i < 8'000; ++i) wide += std::to_string(i % 10) + ",";
  wide += "0]}, " + wide.substr(12, wide.size() - 12) + "10]}]}";
  const StructuredOutput sources[] = {
      regex("((a{1000}){1000}){1000}"),
      regex("(a*)*b"),
      regex("((a{0,1000}){0,1000}){0,1000}b"),
      regex("(a|a)*(a|a)*(a|a)*c"),
      regex("(.*a){20}"),
      regex("(x+x+)+y"),
      regex(alternation),
      regex(optionals),
      regex(std::string(65'000, '.')),
      ebnf(rules),
      json_schema(R"({"type": "string", "pattern": "(a{0,500}b{0,500}){0,500}"})"),
      json_schema(wide),
  };
  for (const StructuredOutput& source : sources) {
    const Time start = now();
    auto grammar = CompiledGrammar::compile(source);
    if (grammar.ok()) {
      grammar->may_begin_with(std::string(200, 'a'));
      grammar->may_begin_with('"' + std::string(200, 'a'));
    }
    EXPECT_LT(seconds(now() - start), 5) << source.source.substr(0, 60);
  }
}

TEST(StructuredOutput, RefusesSourcesOfTooManyParts) {
  for (const StructuredOutput& source : {regex(std::string(20'000, '.')), regex(std::string(20'000, '|')),
                                         ebnf("root ::= " + std::string(20'000, '.'))}) {
    EXPECT_THAT(text_of(compile_structured_output(source).status()), HasSubstr("has more than 16384 parts"));
  }
}

TEST(StructuredOutput, RandomSourcesCompileOrAreRefused) {
  std::mt19937 random(3);
  const std::string_view pieces[] = {"(",     ")",  "[",  "]", "{", "}", "*",    "+",         "?",
                                     "|",     "a",  "\\", "1", ",", "^", "-",    "\"",        "root",
                                     " ::= ", "\n", "$",  ".", "x", ":", "true", R"("type")", "é"};
  for (int i = 0; i < 20'000; ++i) {
    std::string source;
    for (size_t n = random() % 20; n > 0; --n) source += pieces[random() % std::size(pieces)];
    for (const auto& output : {regex(source), ebnf("root ::= " + source), json_schema(source)}) {
      const auto automaton = compile_structured_output(output);
      ASSERT_TRUE(!automaton.ok() || ByteAutomaton::parse(*automaton).has_value()) << source;
    }
  }
}

}  // namespace
}  // namespace octet::router
