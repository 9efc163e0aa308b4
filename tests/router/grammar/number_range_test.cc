#include "router/grammar/number_range.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <string>

#include "tests/router/grammar/grammar_testing.h"

namespace octet::router {
namespace {

std::string bounded(const char* type, const std::string& low, const std::string& high) {
  std::string schema = std::string(R"({"type": ")") + type + '"';
  if (!low.empty()) schema += ", " + low;
  if (!high.empty()) schema += ", " + high;
  return schema + "}";
}

TEST(NumberRange, WholeNumbersAreExact) {
  for (const auto& [low, high] : {std::pair(0, 0),
                                  {0, 9},
                                  {3, 107},
                                  {-12, 5},
                                  {-250, -98},
                                  {99, 101},
                                  {100, 999},
                                  {110, 199},
                                  {500, 1099},
                                  {190, 209},
                                  {1000, 1009},
                                  {7, 6}}) {
    const auto schema = json_schema(
        bounded("integer", "\"minimum\": " + std::to_string(low), "\"maximum\": " + std::to_string(high)));
    if (low > high) {
      EXPECT_NE(refusal(schema).find("matches no text"), std::string::npos);
      continue;
    }
    auto grammar = *CompiledGrammar::compile(schema);
    for (int i = -1100; i <= 1100; ++i) {
      EXPECT_EQ(grammar.matches(std::to_string(i)), i >= low && i <= high)
          << i << " in " << low << " to " << high;
    }
    EXPECT_FALSE(grammar.matches("-0"));
    EXPECT_FALSE(grammar.matches("00"));
    EXPECT_FALSE(grammar.matches("1.0"));
  }
}

TEST(NumberRange, ExcludedAndFractionalBoundsOfWholeNumbers) {
  auto grammar = *CompiledGrammar::compile(
      json_schema(R"({"type": "integer", "exclusiveMinimum": -2, "maximum": 3.5})"));
  for (int i = -5; i <= 5; ++i) EXPECT_EQ(grammar.matches(std::to_string(i)), i > -2 && i <= 3) << i;
  auto upwards = *CompiledGrammar::compile(json_schema(R"({"type": "integer", "exclusiveMinimum": 0})"));
  EXPECT_FALSE(upwards.matches("0"));
  EXPECT_TRUE(upwards.matches("999999999999999999"));
  EXPECT_FALSE(upwards.may_begin_with("1000000000000000000"));
  EXPECT_FALSE(upwards.may_begin_with("-"));
}

// Numbers with up to three digits after the point, against their values.
TEST(NumberRange, NumbersAgreeWithTheirValues) {
  std::mt19937 random(7);
  const char* const bounds[] = {"0",    "1",  "-1",   "0.25", "0.2",    "0.275",
                                "-0.5", "12", "12.5", "100",  "-3.125", "3.999"};
  for (const char* low : bounds) {
    for (const char* high : bounds) {
      const bool excludes_low = random() % 2 == 0;
      const bool excludes_high = random() % 2 == 0;
      const double min = std::atof(low);
      const double max = std::atof(high);
      const auto schema = json_schema(
          bounded("number", std::string(excludes_low ? "\"exclusiveMinimum\": " : "\"minimum\": ") + low,
                  std::string(excludes_high ? "\"exclusiveMaximum\": " : "\"maximum\": ") + high));
      const bool is_empty = min > max || (min == max && (excludes_low || excludes_high));
      const auto compiled = CompiledGrammar::compile(schema);
      ASSERT_EQ(compiled.ok(), !is_empty) << schema.source;
      if (is_empty) continue;
      auto grammar = *CompiledGrammar::compile(schema);
      for (int i = 0; i < 400; ++i) {
        const int thousandths = static_cast<int>(random() % 30'000) - 10'000;
        std::string number = std::to_string(std::abs(thousandths) / 1000);
        if (thousandths < 0) number.insert(0, "-");
        const std::string digits = std::to_string(1000 + std::abs(thousandths) % 1000).substr(1);
        number += "." + digits;
        while (random() % 2 == 0 && number.ends_with('0') && number[number.size() - 2] != '.')
          number.pop_back();
        if (number.ends_with(".000")) number.resize(number.size() - 4);
        const double value = std::atof(number.c_str());
        if (value == 0 && number.front() == '-') continue;
        const bool is_inside =
            (excludes_low ? value > min : value >= min) && (excludes_high ? value < max : value <= max);
        ASSERT_EQ(grammar.matches(number), is_inside) << number << " for " << schema.source;
      }
    }
  }
}

}  // namespace
}  // namespace octet::router
