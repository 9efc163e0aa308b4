#include "router/api/json_fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace octet::router {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

boost::json::object parse(const std::string& text) {
  return boost::json::parse(text).as_object();
}

TEST(JsonFields, ReadsEveryType) {
  const auto object =
      parse(R"({"s": "x", "b": true, "n": 1.5, "i": -3, "u": 18446744073709551615, "ss": ["a", "b"],
                                "one": "a", "is": [1, -2], "map": {"7": 1, "-1": 0.5}, "o": {"k": 1}})");
  JsonFields fields(object);
  EXPECT_EQ(fields.string("s"), "x");
  EXPECT_EQ(fields.boolean("b"), true);
  EXPECT_EQ(fields.number("n"), 1.5);
  EXPECT_EQ(fields.integer("i"), -3);
  EXPECT_EQ(fields.unsigned_integer("u"), UINT64_MAX);
  EXPECT_THAT(fields.strings("ss"), ElementsAre("a", "b"));
  EXPECT_THAT(fields.string_or_strings("one"), ElementsAre("a"));
  EXPECT_THAT(fields.integers("is"), ElementsAre(1, -2));
  EXPECT_THAT(fields.numbers_by_integer("map"), UnorderedElementsAre(Pair(7, 1.0), Pair(-1, 0.5)));
  EXPECT_NE(fields.object("o"), nullptr);
  EXPECT_TRUE(fields.finish().ok()) << fields.finish();
}

TEST(JsonFields, TakesNullForAbsent) {
  const auto object = parse(R"({"a": null, "b": null, "c": null})");
  JsonFields fields(object);
  EXPECT_EQ(fields.string("a"), std::nullopt);
  EXPECT_THAT(fields.string_or_strings("b"), IsEmpty());
  fields.refuse("c");
  EXPECT_EQ(fields.any("absent"), nullptr);
  EXPECT_TRUE(fields.finish().ok());
}

struct Refusal {
  const char* json;
  std::function<void(JsonFields&)> read;
  const char* message;
  const char* field;
};

TEST(JsonFields, NamesTheFieldOfAWrongValue) {
  const std::vector<Refusal> cases = {
      {R"({"f": 1})", [](JsonFields& f) { f.string("f"); }, "f: must be a string, got an integer", "f"},
      {R"({"f": "true"})", [](JsonFields& f) { f.boolean("f"); }, "f: must be a boolean, got a string", "f"},
      {R"({"f": "1"})", [](JsonFields& f) { f.number("f"); }, "f: must be a number, got a string", "f"},
      {R"({"f": true})", [](JsonFields& f) { f.number("f"); }, "f: must be a number, got a boolean", "f"},
      {R"({"f": 1.0})", [](JsonFields& f) { f.integer("f"); }, "f: must be an integer, got a number", "f"},
      {R"({"f": 1e2})", [](JsonFields& f) { f.integer("f"); }, "f: must be an integer, got a number", "f"},
      {R"({"f": 9223372036854775808})", [](JsonFields& f) { f.integer("f"); },
       "f: must be at most 9223372036854775807, got 9223372036854775808", "f"},
      {R"({"f": 18446744073709551616})", [](JsonFields& f) { f.unsigned_integer("f"); },
       "f: must be an integer, got a number", "f"},
      {R"({"f": -1})", [](JsonFields& f) { f.unsigned_integer("f"); }, "f: must be at least 0, got -1", "f"},
      {R"({"f": "a"})", [](JsonFields& f) { f.strings("f"); }, "f: must be an array of strings, got a string",
       "f"},
      {R"({"f": ["a", 1]})", [](JsonFields& f) { f.strings("f"); }, "f[1]: must be a string, got an integer",
       "f[1]"},
      {R"({"f": {}})", [](JsonFields& f) { f.string_or_strings("f"); },
       "f: must be an array of strings, got an object", "f"},
      {R"({"f": [1, null]})", [](JsonFields& f) { f.integers("f"); }, "f[1]: must be an integer, got null",
       "f[1]"},
      {R"({"f": []})", [](JsonFields& f) { f.object("f"); }, "f: must be an object, got an array", "f"},
      {R"({"f": {"x": 1}})", [](JsonFields& f) { f.numbers_by_integer("f"); },
       "f: keys must be integers, got 'x'", "f"},
      {R"({"f": {"5": "1"}})", [](JsonFields& f) { f.numbers_by_integer("f"); },
       "f.5: must be a number, got a string", "f.5"},
      {R"({"f": []})", [](JsonFields& f) { f.refuse("f"); }, "f: is not supported", "f"},
      {R"({"f": 2})", [](JsonFields& f) { f.refuse_unless("f", 1); },
       "f: is not supported; only 1 is accepted", "f"},
  };
  for (const Refusal& refusal : cases) {
    const auto object = parse(refusal.json);
    JsonFields fields(object);
    refusal.read(fields);
    const absl::Status status = fields.finish();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << refusal.json;
    EXPECT_EQ(status.message(), refusal.message) << refusal.json;
    EXPECT_EQ(field_of(status), refusal.field) << refusal.json;
  }
}

TEST(JsonFields, AcceptsTheNeutralValue) {
  const auto object = parse(R"({"f": {"type": "text"}})");
  JsonFields fields(object);
  fields.refuse_unless("f", {{"type", "text"}});
  EXPECT_TRUE(fields.finish().ok());
}

TEST(JsonFields, NamesUnknownFields) {
  const auto object = parse(R"({"known": 1, "foo": null})");
  JsonFields fields(object, "messages[2]");
  fields.integer("known");
  EXPECT_EQ(fields.finish().message(), "unknown field 'messages[2].foo'");
  EXPECT_EQ(field_of(fields.finish()), "messages[2].foo");
}

TEST(JsonFields, ShortensUnknownNames) {
  boost::json::object object;
  object[std::string(100'000, 'a')] = 1;
  EXPECT_EQ(JsonFields(object).finish().message(), "unknown field '" + std::string(64, 'a') + "'");
}

TEST(JsonFields, KeepsTheFirstError) {
  const auto object = parse(R"({"a": 1, "b": 1, "c": 1})");
  JsonFields fields(object);
  fields.string("b");
  fields.string("a");
  EXPECT_FALSE(fields.ok());
  EXPECT_EQ(field_of(fields.finish()), "b");
}

}  // namespace
}  // namespace octet::router
