#include "router/grammar/ebnf.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/grammar/pattern_reader.h"

namespace octet::router {
namespace {

constexpr std::string_view kRoot = "root";

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

class EbnfParser {
 public:
  explicit EbnfParser(std::string_view source) : reader_(source) {}

  absl::StatusOr<Grammar> run() {
    rule_of(kRoot);
    skip_blanks();
    while (!reader_.at_end()) {
      const std::string_view name = take_name();
      if (name.empty()) reader_.fail("needs the name of a rule");
      skip_blanks();
      if (!reader_.take("::=")) reader_.fail("needs ::= after the name of a rule");
      const uint32_t rule = rule_of(name);
      if (is_defined_[rule]) reader_.fail(absl::StrCat("defines rule ", absl_view(name), " again"));
      is_defined_[rule] = true;
      Expression body = alternatives(0);
      grammar_.rules[rule].body = std::move(body);
    }
    if (!reader_.error().ok()) return reader_.error();
    const auto undefined = std::find(is_defined_.begin(), is_defined_.end(), false);
    if (undefined == is_defined_.end()) return std::move(grammar_);
    const std::string& name = grammar_.rules[undefined - is_defined_.begin()].name;
    return absl::InvalidArgumentError(absl::StrCat("has no ", name));
  }

 private:
  void skip_blanks() {
    while (!reader_.at_end()) {
      const char c = reader_.rest().front();
      if (c == '#') {
        const size_t end = reader_.rest().find('\n');
        reader_.skip_bytes(std::min(end, reader_.rest().size()));
      } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        reader_.skip_bytes(1);
      } else {
        return;
      }
    }
  }

  std::string_view take_name() {
    const std::string_view rest = reader_.rest();
    const auto end = std::find_if_not(rest.begin(), rest.end(), is_name_character);
    const std::string_view name = rest.substr(0, end - rest.begin());
    reader_.skip_bytes(name.size());
    return name;
  }

  uint32_t rule_of(std::string_view name) {
    const auto [entry, is_new] = rules_.try_emplace(std::string(name), static_cast<uint32_t>(rules_.size()));
    if (is_new) {
      grammar_.rules.push_back({.name = absl::StrCat("rule ", absl_view(name)), .body = {}});
      is_defined_.push_back(false);
    }
    return entry->second;
  }

  // A rule ends where the next one's name and ::= stand.
  bool at_next_rule() {
    const std::string_view rest = reader_.rest();
    const auto end = std::find_if_not(rest.begin(), rest.end(), is_name_character);
    const auto after = std::find_if_not(end, rest.end(), [](char c) { return c == ' ' || c == '\t'; });
    return end != rest.begin() && std::string_view(after, rest.end()).starts_with("::=");
  }

  Expression alternatives(int depth) {
    return reader_.take_alternatives([&] { return alternative(depth); });
  }

  Expression alternative(int depth) {
    std::vector<Expression> parts;
    for (skip_blanks();
         !reader_.at_end() && !reader_.looking_at("|") && !reader_.looking_at(")") && !at_next_rule();
         skip_blanks()) {
      bool is_repeated = false;
      parts.push_back(reader_.take_repetition(atom(depth), is_repeated));
    }
    if (depth == 0 && reader_.looking_at(")")) reader_.fail("closes a parenthesis that is not open");
    if (parts.size() == 1) return std::move(parts.front());
    return sequence(std::move(parts));
  }

  Expression atom(int depth) {
    if (reader_.take("\"")) return literal();
    if (reader_.take("[")) return one_of(reader_.take_class());
    if (reader_.take(".")) return one_of(any_but_line_feed());
    if (reader_.take("(")) return group(depth + 1);
    const std::string_view name = take_name();
    if (!name.empty()) return call(rule_of(name));
    reader_.fail("has a character that begins nothing");
    return {};
  }

  Expression literal() {
    std::string characters;
    while (!reader_.at_end() && !reader_.looking_at("\"")) {
      if (reader_.take("\\")) {
        const CodePoints escaped = reader_.take_escape();
        if (escaped.empty() || escaped.ranges().front().first != escaped.ranges().back().last) {
          reader_.fail("has a class in a literal");
          return {};
        }
        append_utf8(escaped.ranges().front().first, characters);
      } else {
        append_utf8(reader_.take_character(), characters);
      }
    }
    if (!reader_.take("\"")) reader_.fail("has a literal that is not closed");
    return text(characters);
  }

  Expression group(int depth) {
    if (depth > kMaxPatternDepth) {
      reader_.fail(absl::StrCat("has more than ", kMaxPatternDepth, " parentheses inside each other"));
      return {};
    }
    Expression inside = alternatives(depth);
    if (!reader_.take(")")) reader_.fail("has a parenthesis that is not closed");
    return inside;
  }

  PatternReader reader_;
  Grammar grammar_;
  std::unordered_map<std::string, uint32_t> rules_;
  std::vector<bool> is_defined_;  // [num_rules]
};

}  // namespace

absl::StatusOr<Grammar> parse_ebnf(std::string_view source) {
  return EbnfParser(source).run();
}

}  // namespace octet::router
