#include "router/grammar/json_schema.h"

#include <gtest/gtest.h>

#include "tests/router/grammar/grammar_testing.h"

namespace octet::router {
namespace {

// test_grammar_properties.py checks with jsonschema that what comes out validates; here it is what may come
// out.
void expect(const std::string& schema, const std::vector<std::string>& matching,
            const std::vector<std::string>& failing) {
  auto compiled = CompiledGrammar::compile(json_schema(schema));
  ASSERT_TRUE(compiled.ok()) << compiled.status() << " for " << schema;
  for (const std::string& text : matching) EXPECT_TRUE(compiled->matches(text)) << text << " for " << schema;
  for (const std::string& text : failing) EXPECT_FALSE(compiled->matches(text)) << text << " for " << schema;
}

TEST(JsonSchema, PropertiesComeInTheirOrderAndOptionalOnesMayBeLeftOut) {
  expect(R"({"type": "object", "required": ["b"],
             "properties": {"a": {"type": "integer"}, "b": {"type": "null"}, "c": {"type": "boolean"}}})",
         {R"({"a":1,"b":null,"c":true})", R"({"b":null})", R"({"b": null, "c": false})",
          "{\n  \"b\": null\n}", R"( {"a": -20, "b": null})"},
         {"{}", R"({"a":1})", R"({"b":null,"a":1})", R"({"b":null,})", R"({,"b":null})", R"({"b":null} )",
          R"({"b":null,"d":1})", R"({"b":null,"c":true,"c":true})"});
  expect(R"({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}})",
         {"{}", "{ }", R"({"a":1})", R"({"b":2})", R"({"a":1,"b":2})"}, {R"({"a":1"b":2})", R"({,"b":2})"});
}

TEST(JsonSchema, AdditionalPropertiesHaveOtherNames) {
  expect(R"({"type": "object", "properties": {"ab": {"type": "integer"}, "abc": {"type": "integer"}},
             "required": ["ab"], "additionalProperties": {"type": "string"}})",
         {R"({"ab":1})", R"({"ab":1,"abc":2,"x":"y"})", R"({"ab":1,"a":"y","abcd":"","é":""})",
          R"({"ab":1,"":"y"})"},
         {R"({"x":"y"})", R"({"ab":1,"abc":"y"})", R"({"ab":1,"x":2})", R"({"ab":1,"\u0061bc":"y"})"});
  expect(R"({"type": "object", "additionalProperties": {"type": "integer"}})", {"{}", R"({"a":1,"b":2})"},
         {R"({"a":"b"})"});
  expect(R"({"type": "object", "additionalProperties": false})", {"{}"}, {R"({"a":1})"});
  expect(R"({"type": "object", "required": ["k"]})", {R"({"k":[1,{}]})"}, {"{}", R"({"j":1})"});
  expect(R"({"type": "object"})", {"{}", R"({"a":[1,2.5e-3,{"b":null}]})"}, {"[]"});
}

TEST(JsonSchema, ArraysCountTheirItems) {
  expect(R"({"type": "array", "items": {"type": "integer"}})", {"[]", "[1]", "[1, 2,3]"},
         {"[,1]", "[1,]", "[\"a\"]"});
  expect(R"({"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 3})", {"[1,1]", "[1,1,1]"},
         {"[]", "[1]", "[1,1,1,1]"});
  expect(R"({"type": "array", "items": {"const": 1}, "maxItems": 1})", {"[]", "[1]"}, {"[1,1]"});
  expect(R"({"type": "array", "items": {"const": 1}, "maxItems": 0})", {"[]"}, {"[1]"});
  expect(R"({"type": "array", "items": {"const": 1}, "minItems": 1})", {"[1]", "[1,1,1]"}, {"[]"});
  expect(R"({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": false, "minItems": 1})",
         {"[1]", "[1,2]"}, {"[]", "[2]", "[1,2,3]"});
  expect(
      R"({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}, "minItems": 3,
             "maxItems": 4})",
      {"[1,2,3]", "[1,2,3,3]"}, {"[1,2]", "[1,2,3,3,3]", "[3,3,3]"});
  expect(R"({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "maxItems": 1})", {"[]", "[1]"},
         {"[1,2]"});
}

TEST(JsonSchema, StringsOfALengthCountCharacters) {
  expect(R"({"type": "string", "minLength": 2, "maxLength": 3})",
         {R"("ab")", R"("日本語")", R"("\n\u00e9")", R"("\ud83d\ude00!")"},
         {R"("a")", R"("abcd")", R"("\n")"});
  expect(R"({"type": "string", "maxLength": 0})", {R"("")"}, {R"("a")"});
  expect(R"({"type": "string", "minLength": 1})", {R"("a")", R"("abcd")"}, {R"("")"});
}

TEST(JsonSchema, StringsAreJson) {
  expect(R"({"type": "string"})", {R"("")", R"("\"\\\/\b\f\n\r\t\u0000")", "\"\x7f\xC3\xA9\""},
         {"\"\n\"", R"("\x")", R"("\u12")", R"("\ud800")", R"("\udc00")", R"("\ud800\u0041")", "\"\xC3\"",
          R"("a)"});
}

TEST(JsonSchema, PatternsMatchAPartUnlessAnchored) {
  expect(R"({"type": "string", "pattern": "b+"})", {R"("b")", R"("abbc")"}, {R"("")", R"("ac")"});
  expect(R"({"type": "string", "pattern": "^[a-z]\\d$"})", {R"("a1")"}, {R"("a12")", R"("xa1")"});
  expect(R"({"type": "string", "pattern": "^a|b$"})", {R"("ax")", R"("xb")"}, {R"("xa")", R"("bx")"});
  // Characters that JSON escapes.
  expect(R"({"type": "string", "pattern": "^[\"\\\\]\n.$"})", {R"("\"\n\t")", R"("\\\nx")"}, {R"("\"\n\n")"});
}

TEST(JsonSchema, Formats) {
  expect(R"({"type": "string", "format": "date"})", {R"("2024-02-29")", R"("2000-02-29")", R"("1999-12-31")"},
         {R"("2023-02-29")", R"("1900-02-29")", R"("2024-13-01")", R"("2024-04-31")"});
  expect(R"({"type": "string", "format": "date-time"})",
         {R"("2024-05-06T07:08:09Z")", R"("2024-05-06T07:08:09.5+01:00")"},
         {R"("2024-05-06")", R"("2024-05-06T24:00:00Z")"});
  expect(R"({"type": "string", "format": "uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"},
         {R"("123e4567")"});
  expect(R"({"type": "string", "format": "ipv4"})", {R"("255.0.10.1")"}, {R"("256.0.0.1")", R"("1.2.3")"});
  expect(R"({"type": "string", "format": "email"})", {R"("a.b+c@example.org")"}, {R"("a@b")", R"("@b.c")"});
}

TEST(JsonSchema, ConstantsAndEnums) {
  expect(R"({"enum": ["a\"b", 1, 1.5, -1e30, true, null, [1, {"k": "v"}]]})",
         {R"("a\"b")", "1", "1.5", "-1e+30", "true", "null", R"([1, {"k": "v"}])", R"([1,{"k":"v"}])"},
         {"2", "false", "[]", R"("a")"});
  expect(R"({"type": "string", "enum": ["x", 1]})", {R"("x")"}, {"1"});
  expect(R"({"type": ["integer", "null"], "enum": [1, 2.0, 2.5, null, "x"]})", {"1", "2", "null"},
         {"2.5", R"("x")"});
}

TEST(JsonSchema, AlternativesAndTypes) {
  expect(R"({"anyOf": [{"type": "integer"}, {"type": "null"}]})", {"12", "null"}, {"true"});
  expect(R"({"type": ["string", "boolean"]})", {R"("x")", "true"}, {"1"});
  expect(
      R"({"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind", "x"]},
                       {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]}]})",
      {R"({"kind":"a","x":1})", R"({"kind":"b"})"}, {R"({"kind":"a"})", R"({"kind":"b","x":1})"});
  expect(R"({"allOf": [{"$ref": "#/$defs/n"}], "description": "one", "$defs": {"n": {"type": "number"}}})",
         {"1.5", "-3E+7", "0"}, {"01", "1.", "+1", ".5", "1e100"});
  expect("{}", {"1", "[]", R"({"a":null})"}, {"", "x"});
  expect("true", {"1"}, {"x"});
}

TEST(JsonSchema, ReferencesRecur) {
  expect(R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["v"],
             "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}}})",
         {R"({"v":1})", R"({"v":1,"next":{"v":2,"next":null}})"}, {R"({"v":1,"next":{}})"});
  expect(R"({"type": "array", "items": {"$ref": "#"}})", {"[]", "[[],[[]]]"}, {"[1]"});
  expect(R"({"$ref": "#/$defs/a~1b~0", "$defs": {"a/b~": {"const": 1}}})", {"1"}, {"2"});
}

TEST(JsonSchema, BlanksAreLimited) {
  const std::string blanks(32, ' ');
  expect(R"({"type": "array", "items": {"const": 1}})", {"\n" + blanks + "[" + blanks + "1,\n\t1\n]"},
         {"[" + blanks + " 1]", "[\n\n1]", "[1 ,1]", "[1]\n"});
}

TEST(JsonObject, IsAnyObject) {
  StructuredOutput any;
  any.field = "response_format";
  auto grammar = *CompiledGrammar::compile(any);
  EXPECT_TRUE(grammar.matches(R"({"a": [1, -2.5e3, "x", {"b": null}], "c": true})"));
  EXPECT_FALSE(grammar.matches("[1]"));
}

}  // namespace
}  // namespace octet::router
