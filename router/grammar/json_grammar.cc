#include "router/grammar/json_grammar.h"

#include <algorithm>
#include <map>
#include <utility>

namespace octet::router {
namespace {

constexpr uint32_t kMaxBlanks = 32;

CodePoints hex_digits() {
  return {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
}
Expression hex(uint32_t num_digits) {
  return repeat(one_of(hex_digits()), num_digits, num_digits);
}

// \u with a character of its own, or with the two halves of one.
Expression unicode_escape() {
  const CodePoints d = {{'D', 'D'}, {'d', 'd'}};
  const CodePoints high_half = {{'8', '9'}, {'A', 'B'}, {'a', 'b'}};
  const CodePoints low_half = {{'C', 'F'}, {'c', 'f'}};
  Expression low_character = sequence({one_of(hex_digits().without(d)), hex(3)});
  Expression after_surrogates = sequence({one_of(d), one_of({{'0', '7'}}), hex(2)});
  Expression pair =
      sequence({one_of(d), one_of(high_half), hex(2), text("\\u"), one_of(d), one_of(low_half), hex(2)});
  return sequence(
      {text("u"), choice({std::move(low_character), std::move(after_surrogates), std::move(pair)})});
}

Expression digits(uint32_t min, uint32_t max) {
  return repeat(one_of({{'0', '9'}}), min, max);
}

Expression whole_number_without_sign() {
  return choice({text("0"), sequence({one_of({{'1', '9'}}), digits(0, kMaxWholeDigits - 1)})});
}

// What stands between brackets of any kind: nothing, or elements and commas.
Expression list(Expression open, const Expression& element, const Expression& space, Expression close) {
  Expression more = repeat(sequence({text(","), space, element}), 0, Expression::kNoLimit);
  return sequence(
      {std::move(open), space, optional(sequence({element, std::move(more)})), space, std::move(close)});
}

}  // namespace

CodePoints plain_string_characters() {
  return CodePoints({{0x20, kMaxCodePoint}}).without({{'"', '"'}, {'\\', '\\'}});
}

Expression string_character() {
  Expression escape = choice({one_of({{'"', '"'},
                                      {'/', '/'},
                                      {'\\', '\\'},
                                      {'b', 'b'},
                                      {'f', 'f'},
                                      {'n', 'n'},
                                      {'r', 'r'},
                                      {'t', 't'}}),
                              unicode_escape()});
  return choice({one_of(plain_string_characters()), sequence({text("\\"), std::move(escape)})});
}

std::string json_string_part(std::string_view text) {
  static constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t";
  static constexpr std::string_view kEscapes = "\"\\bfnrt";
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const size_t index = kEscaped.find(c);
    if (index != std::string_view::npos) {
      out += {'\\', kEscapes[index]};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += {kHex[static_cast<unsigned char>(c) >> 4], kHex[c & 15]};
    } else {
      out += c;
    }
  }
  return out;
}

std::string json_string(std::string_view text) {
  return '"' + json_string_part(text) + '"';
}

Expression in_json_string(Expression expression) {
  if (expression.kind == Expression::Kind::kText) {
    expression.text = json_string_part(expression.text);
  } else if (expression.kind == Expression::Kind::kCharacter) {
    // Beginnings of escapes, and what may follow them: \n and such, \u0000 to \u000f, \u0010 to \u001f.
    std::map<std::string, std::vector<CodePoints::Range>> escapes;
    const CodePoints escaped = plain_string_characters().complement();
    for (const CodePoints::Range& range : escaped.ranges()) {
      for (uint32_t c = range.first; c <= range.last; ++c) {
        if (!expression.characters.contains(c)) continue;
        const char character = static_cast<char>(c);
        const std::string escape = json_string_part({&character, 1});
        const auto last = static_cast<uint32_t>(escape.back());
        escapes[escape.substr(0, escape.size() - 1)].push_back({.first = last, .last = last});
      }
    }
    std::vector<Expression> forms;
    for (auto& [beginning, ends] : escapes) {
      forms.push_back(sequence({text(beginning), one_of(CodePoints(std::move(ends)))}));
    }
    forms.push_back(one_of(expression.characters.without(escaped)));
    return choice(std::move(forms));
  }
  for (Expression& part : expression.parts) part = in_json_string(std::move(part));
  return expression;
}

Expression any_whole_number() {
  return sequence({optional(text("-")), whole_number_without_sign()});
}

JsonGrammar::JsonGrammar() {
  add_rule("the schema");
  space_ = add_rule("space");
  string_ = add_rule("string");
  number_ = add_rule("number");
  object_ = add_rule("object");
  array_ = add_rule("array");
  value_ = add_rule("value");
  set_body(space_,
           sequence({optional(text("\n")), repeat(one_of({{'\t', '\t'}, {' ', ' '}}), 0, kMaxBlanks)}));
  set_body(string_, sequence({text("\""), repeat(string_character(), 0, Expression::kNoLimit), text("\"")}));
  Expression fraction = sequence({text("."), digits(1, kMaxFractionDigits)});
  Expression exponent =
      sequence({one_of({{'E', 'E'}, {'e', 'e'}}), optional(one_of({{'+', '+'}, {'-', '-'}})), digits(1, 2)});
  set_body(number_,
           sequence({any_whole_number(), optional(std::move(fraction)), optional(std::move(exponent))}));
  set_body(object_, list(text("{"), member(any_string(), any_value()), space(), text("}")));
  set_body(array_, list(text("["), any_value(), space(), text("]")));
  set_body(value_, choice({any_object(), any_array(), any_string(), any_number(), text("true"), text("false"),
                           text("null")}));
}

uint32_t JsonGrammar::add_rule(std::string name) {
  ++num_expressions_;
  if (is_too_large()) return 0;
  grammar_.rules.push_back({.name = std::move(name), .body = {}});
  return static_cast<uint32_t>(grammar_.rules.size() - 1);
}

void JsonGrammar::set_body(uint32_t rule, Expression body) {
  num_expressions_ += num_expressions(body);
  if (!is_too_large()) grammar_.rules[rule].body = std::move(body);
}

Expression JsonGrammar::member(Expression key, Expression value) const {
  return sequence({std::move(key), text(":"), space(), std::move(value)});
}

// A rule for each beginning that a key of `keys` has: what may follow it in another key.
Expression JsonGrammar::key_except(const std::vector<std::string>& keys) {
  const CodePoints plain = plain_string_characters();
  const Expression rest = sequence({repeat(one_of(plain), 0, Expression::kNoLimit), text("\"")});
  struct Beginning {
    std::map<uint32_t, size_t> next;
    bool is_key = false;
  };
  std::vector<Beginning> beginnings(1);
  for (const std::string& key : keys) {
    if (num_expressions_ + beginnings.size() + key.size() > kMaxExpressions) {
      num_expressions_ = kMaxExpressions + 1;
      return {};
    }
    size_t at = 0;
    for (std::string_view left = key; !left.empty();) {
      const auto [entry, is_new] = beginnings[at].next.try_emplace(take_code_point(left), beginnings.size());
      at = entry->second;
      if (is_new) beginnings.emplace_back();
    }
    beginnings[at].is_key = true;
  }
  const auto first_rule = static_cast<uint32_t>(num_rules());
  for (size_t i = 0; i < beginnings.size(); ++i) add_rule("key");
  for (size_t i = 0; i < beginnings.size(); ++i) {
    std::vector<Expression> forms;
    std::vector<CodePoints::Range> taken;
    for (const auto& [character, next] : beginnings[i].next) {
      taken.push_back({.first = character, .last = character});
      if (!plain.contains(character)) continue;
      std::string bytes;
      append_utf8(character, bytes);
      forms.push_back(sequence({text(bytes), call(first_rule + static_cast<uint32_t>(next))}));
    }
    if (!beginnings[i].is_key) forms.push_back(text("\""));
    forms.push_back(sequence({one_of(plain.without(CodePoints(std::move(taken)))), rest}));
    set_body(first_rule + static_cast<uint32_t>(i), choice(std::move(forms)));
  }
  return sequence({text("\""), call(first_rule)});
}

Grammar json_object_grammar() {
  JsonGrammar grammar;
  grammar.set_body(0, sequence({grammar.space(), grammar.any_object()}));
  return grammar.take();
}

}  // namespace octet::router
