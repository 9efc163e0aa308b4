#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/router/grammar/grammar_testing.h"

namespace octet::router {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(JsonSchema, RefusesByNameWhatItDoesNotSupport) {
  const std::pair<const char*, const char*> cases[] = {
      {"{", "is not a JSON text"},
      {"3", "a schema must be an object"},
      {R"({"type": "thing"})", R"(at "/type": must be one or more of)"},
      {R"({"type": []})", R"(at "/type": must not be empty)"},
      {R"({"not": {}})", R"(at "/not": is not supported)"},
      {R"({"if": {}, "then": {}})", R"(at "/if": is not supported)"},
      {R"({"type": "object", "patternProperties": {}})", R"(at "/patternProperties": is not supported)"},
      {R"({"type": "object", "minProperties": 1})", R"(at "/minProperties": is not supported)"},
      {R"({"type": "object", "properties": {"a": {"type": "array", "contains": {}}}})",
       R"(at "/properties/a/contains": is not supported)"},
      {R"({"type": "array", "uniqueItems": true})", R"(at "/uniqueItems": is not supported)"},
      {R"({"type": "number", "multipleOf": 2})", R"(at "/multipleOf": is not supported)"},
      {R"({"type": "string", "minimum": 2})", R"(at "/minimum": is not supported)"},
      {R"({"type": "string", "nullable": true})", R"(at "/nullable": is not supported)"},
      {R"({"type": "string", "format": "regex"})", R"(at "/format": must be one of date)"},
      {R"_({"type": "string", "pattern": "(?=a)"})_", R"(at "/pattern": has a look-around)"},
      {R"({"type": "string", "pattern": "a", "maxLength": 3})",
       R"(at "/pattern": is not supported together)"},
      {R"({"type": "string", "minLength": 3, "maxLength": 2})", R"(at "/minLength": is above maxLength)"},
      {R"({"type": "string", "maxLength": 1000001})", R"(at "/maxLength": must be a whole number from 0)"},
      {R"({"type": "string", "maxLength": 2.5})", R"(at "/maxLength": must be a whole number)"},
      {R"({"type": "array", "minItems": 3, "maxItems": 2})", R"(at "/minItems": is above maxItems)"},
      {R"({"type": "number", "minimum": "2"})", R"(at "/minimum": must be a number of at most 18 digits)"},
      {R"({"type": "number", "minimum": 1e18})", R"(at "/minimum": must be a number of at most 18 digits)"},
      {R"({"type": "number", "minimum": 1, "exclusiveMinimum": 2})",
       R"(not supported together with minimum)"},
      {R"({"$ref": "other.json"})", R"(at "/$ref": must be "#" or point into)"},
      {R"({"$ref": "#/$defs/none"})", R"(at "/$ref": must be "#" or point into)"},
      {R"({"$ref": "#", "type": "string"})", R"(at "/type": is not supported, or not together)"},
      {R"({"$ref": "#"})", "can begin with itself"},
      {R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})", "can begin with itself"},
      {R"({"anyOf": [{"type": "string"}], "type": "string"})",
       R"(at "/type": is not supported, or not together)"},
      {R"({"allOf": [{}, {}]})", R"(at "/allOf": must have 1 to 1 schemas; has 2)"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})",
       "schemas 0 and 1 do not exclude each other"},
      {R"({"oneOf": [{"const": 1}, {"enum": [2, 1.0]}]})", "schemas 0 and 1 do not exclude each other"},
      {R"({"enum": []})", "matches no text"},
      {R"({"enum": [1], "minLength": 3})", R"(at "/minLength": is not supported, or not together)"},
      {R"({"type": "object", "properties": {"a": false}, "required": ["a"]})", "matches no text"},
      {R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "matches no text"},
      {R"({"properties": [1]})", R"(at "/properties": must be an object)"},
      {R"({"required": [1]})", R"(at "/required": must hold strings)"},
  };
  for (const auto& [schema, message] : cases) {
    EXPECT_THAT(refusal(json_schema(schema)), testing::AllOf(StartsWith("schema: "), HasSubstr(message)))
        << schema;
  }
}

TEST(JsonSchema, RefusesWhatIsTooLarge) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += R"({"items":)";
  EXPECT_THAT(refusal(json_schema(deep + "{}" + std::string(100, '}'))), HasSubstr("is not a JSON text"));
  EXPECT_THAT(refusal(json_schema(std::string(70'000, ' '))), HasSubstr("must have at most 65536 bytes"));
  std::string many = R"({"properties": {"p0": {})";
  for (int i = 1; i < 257; ++i) many += ", \"p" + std::to_string(i) + "\": {}";
  EXPECT_THAT(refusal(json_schema(many + "}}")),
              HasSubstr(R"(at "/properties": must have at most 256 entries)"));
  std::string bounds = R"({"properties": {"p0": {})";
  for (int i = 1; i < 200; ++i) bounds += absl::StrCat(R"(, "p)", i, R"(": {"minimum": 123456789012345678})");
  EXPECT_THAT(refusal(json_schema(bounds + "}}")),
              HasSubstr("is too large: it becomes more than 16384 parts"));
}

}  // namespace
}  // namespace octet::router
