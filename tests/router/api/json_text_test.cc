#include "router/api/json_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace octet::router {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string nested(int depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

TEST(ParseJson, TakesOneObject) {
  const auto object = parse_json_object(" {\"a\": [1, 2.5, \"\\u00e9\", null]} \n");
  ASSERT_TRUE(object.ok()) << object.status();
  EXPECT_EQ(json_text(*object), "{\"a\":[1,2.5,\"\xC3\xA9\",null]}");
}

TEST(ParseJson, LastOfEqualKeysWins) {
  const auto object = parse_json_object(R"({"a": 1, "a": 2})");
  ASSERT_TRUE(object.ok());
  EXPECT_EQ(json_text(*object), R"({"a":2})");
}

TEST(ParseJson, RefusesWhatIsNotStrictJson) {
  const std::vector<std::string> broken = {"",
                                           " ",
                                           "{",
                                           "{]",
                                           "{'a': 1}",
                                           "{\"a\": 1,}",
                                           "{\"a\": NaN}",
                                           "{\"a\": Infinity}",
                                           "{\"a\": 01}",
                                           "{\"a\": +1}",
                                           "{\"a\": 1} x",
                                           "{\"a\": 1}{}",
                                           "// c\n{}",
                                           "{\"a\": \"\xFF\"}",
                                           "{\"a\": \"\xC0\x80\"}",
                                           "{\"a\": \"\xED\xA0\x80\"}",
                                           "{\"a\": \"\\ud800\"}",
                                           "{\"a\": \"\\udc00\\ud800\"}",
                                           "{\"a\": \"\x01\"}",
                                           "{\"a\": tru}",
                                           "{a: 1}",
                                           std::string("{\"a\": 1}\0", 9)};
  for (const std::string& text : broken) {
    const auto object = parse_json_object(text);
    EXPECT_EQ(object.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(object.status().message()), HasSubstr("not valid JSON at byte")) << text;
  }
}

TEST(ParseJson, RefusesOtherValuesThanObjects) {
  for (const char* text : {"[]", "1", "\"a\"", "null", "true"}) {
    EXPECT_EQ(parse_json_object(text).status().message(), "the body must be a JSON object") << text;
  }
}

TEST(ParseJson, RefusesNumbersThatNoDoubleHolds) {
  for (const char* text : {"{\"a\": 1e400}", "{\"a\": [-1e999999999999]}", "{\"a\": {\"b\": [1e309]}}"}) {
    EXPECT_FALSE(parse_json_object(text).ok()) << text;
  }
  EXPECT_TRUE(parse_json_object("{\"a\": 1e308, \"b\": 1e-400, \"c\": -0.0}").ok());
}

TEST(ParseJson, RefusesDeepNesting) {
  EXPECT_TRUE(parse_json(nested(32)).ok());
  EXPECT_FALSE(parse_json(nested(33)).ok());
  EXPECT_FALSE(parse_json(std::string(250'000, '[')).ok());
}

TEST(ParseJson, DoesNotQuoteTheText) {
  const auto object = parse_json_object("{\"secret prompt\": x}");
  EXPECT_THAT(std::string(object.status().message()), Not(HasSubstr("secret")));
}

TEST(JsonText, WritesNumbersAsPythonDoes) {
  const std::vector<std::pair<double, const char*>> cases = {
      {0.0, "0.0"},
      {-0.0, "-0.0"},
      {1.0, "1.0"},
      {-1.5, "-1.5"},
      {0.1, "0.1"},
      {1e-4, "0.0001"},
      {1e-5, "1e-05"},
      {1.5e-7, "1.5e-07"},
      {1e15, "1000000000000000.0"},
      {1e16, "1e+16"},
      {1e308, "1e+308"},
      {1.0 / 3, "0.3333333333333333"},
      {static_cast<double>(-0.1F), "-0.10000000149011612"},
      {std::numeric_limits<double>::infinity(), "null"},
  };
  for (const auto& [number, text] : cases) EXPECT_EQ(json_text(boost::json::value(number)), text);
  EXPECT_EQ(json_text(boost::json::value(UINT64_MAX)), "18446744073709551615");
  EXPECT_EQ(json_text(boost::json::value(INT64_MIN)), "-9223372036854775808");
}

TEST(JsonText, EscapesWhatJsonRequires) {
  EXPECT_EQ(json_text(boost::json::value("\"\\/\b\f\n\r\t\x01\x1F\x7F")),
            "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7F\"");
}

TEST(JsonText, SortsAndEscapesToAscii) {
  const boost::json::object object{{"b", "\xC3\xA9 \xE2\x96\x81 \xF0\x9F\x99\x82"},
                                   {"a", {{"d", 1}, {"c", nullptr}}}};
  EXPECT_EQ(json_text(object, JsonStyle::kSortedAscii),
            R"({"a":{"c":null,"d":1},"b":"\u00e9 \u2581 \ud83d\ude42"})");
}

TEST(JsonText, ReplacesBrokenUtf8) {
  std::string out;
  append_json_string(out, "a\xFF\xE2\x82z");
  EXPECT_EQ(out, "\"a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\"");
  out.clear();
  append_json_string(out, "\xFF", JsonStyle::kSortedAscii);
  EXPECT_EQ(out, "\"\\ufffd\"");
}

}  // namespace
}  // namespace octet::router
