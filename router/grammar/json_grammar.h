// JSON (RFC 8259) as rules of a grammar. A subset that every reader takes and in which no model can go round
// in circles: between values at most a line feed and 32 blanks, none before commas and colons; whole numbers
// of at most 18 digits, fractions of 17, exponents of 2; \u escapes are whole characters.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/grammar/expression.h"

namespace octet::router {

inline constexpr uint32_t kMaxWholeDigits = 18;
inline constexpr uint32_t kMaxFractionDigits = 17;

class JsonGrammar {
 public:
  JsonGrammar();  // has rule 0 without a body

  uint32_t add_rule(std::string name);
  void set_body(uint32_t rule, Expression body);
  // More than kMaxExpressions, rules counted too: what came last is left out.
  bool is_too_large() const { return num_expressions_ > kMaxExpressions; }
  size_t num_rules() const { return grammar_.rules.size(); }
  Grammar take() { return std::move(grammar_); }

  Expression space() const { return call(space_); }
  Expression any_string() const { return call(string_); }
  Expression any_value() const { return call(value_); }
  Expression any_object() const { return call(object_); }
  Expression any_array() const { return call(array_); }
  Expression any_number() const { return call(number_); }

  // "key": value
  Expression member(Expression key, Expression value) const;
  // A key without escapes that is none of these, quotes included.
  Expression key_except(const std::vector<std::string>& keys);

 private:
  Grammar grammar_;
  size_t num_expressions_ = 0;
  uint32_t space_ = 0;
  uint32_t string_ = 0;
  uint32_t number_ = 0;
  uint32_t object_ = 0;
  uint32_t array_ = 0;
  uint32_t value_ = 0;
};

// Characters that stand in a JSON string for themselves.
CodePoints plain_string_characters();
// One character of a string, escaped or not.
Expression string_character();
// The text as a JSON string, quotes included; or as a part of one, without them.
std::string json_string(std::string_view text);
std::string json_string_part(std::string_view text);
// What matches a JSON string's inside where the expression, which calls no rules, matches the string. Each
// character has one form: itself where that is allowed, else its escape.
Expression in_json_string(Expression expression);

Expression any_whole_number();  // with a sign or without
Grammar json_object_grammar();

}  // namespace octet::router
