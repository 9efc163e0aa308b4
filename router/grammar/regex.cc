#include "router/grammar/regex.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "router/grammar/pattern_reader.h"

namespace octet::router {
namespace {

constexpr std::string_view kNamedGroups[] = {"P<", "<"};

class RegexParser {
 public:
  RegexParser(std::string_view source, RegexMatch match) : reader_(source), match_(match) {}

  absl::StatusOr<Expression> run() {
    Expression whole = alternatives(0);
    if (!reader_.at_end()) reader_.fail("closes a parenthesis that is not open");
    if (!reader_.error().ok()) return reader_.error();
    return whole;
  }

 private:
  Expression alternatives(int depth) {
    return reader_.take_alternatives([&] { return alternative(depth); });
  }

  bool at_alternative_end() const {
    return reader_.at_end() || reader_.looking_at("|") || reader_.looking_at(")");
  }

  Expression alternative(int depth) {
    const bool is_outermost = depth == 0;
    const bool from_start = is_outermost && reader_.take("^");
    bool to_end = false;
    std::vector<Expression> parts;
    if (is_outermost && !from_start) add_surroundings(parts);
    while (!at_alternative_end() && !to_end) {
      to_end = is_outermost && reader_.take("$");
      if (!to_end) add(repetition(depth), parts);
    }
    if (to_end && !at_alternative_end()) reader_.fail("has an anchor inside, which is not supported,");
    if (is_outermost && !to_end) add_surroundings(parts);
    return sequence(std::move(parts));
  }

  void add_surroundings(std::vector<Expression>& parts) const {
    if (match_ == RegexMatch::kWhole) return;
    parts.push_back(repeat(one_of(CodePoints::all()), 0, Expression::kNoLimit));
  }

  // Texts that follow each other become one.
  static void add(Expression part, std::vector<Expression>& parts) {
    const bool joins = part.kind == Expression::Kind::kText && !parts.empty() &&
                       parts.back().kind == Expression::Kind::kText;
    if (joins) {
      parts.back().text += part.text;
    } else {
      parts.push_back(std::move(part));
    }
  }

  Expression repetition(int depth) {
    bool is_repeated = false;
    Expression part = reader_.take_repetition(atom(depth), is_repeated);
    if (!is_repeated) return part;
    reader_.take("?");  // a lazy repetition matches the same texts
    if (reader_.looking_at("+")) reader_.fail("has a possessive repetition, which is not supported,");
    if (reader_.looking_at("*") || reader_.looking_at("?")) reader_.fail("repeats a repetition");
    return part;
  }

  Expression atom(int depth) {
    if (reader_.take("(")) return group(depth + 1);
    if (reader_.take("[")) return one_of(reader_.take_class());
    if (reader_.take(".")) return one_of(any_but_line_feed());
    if (reader_.take("\\")) return escape();
    for (const std::string_view operation : {"*", "+", "?"}) {
      if (reader_.looking_at(operation)) reader_.fail("repeats nothing");
    }
    for (const std::string_view anchor : {"^", "$"}) {
      if (reader_.looking_at(anchor)) reader_.fail("has an anchor inside, which is not supported,");
    }
    std::string character;
    append_utf8(reader_.take_character(), character);
    return text(character);
  }

  Expression escape() {
    for (const std::string_view digit : {"1", "2", "3", "4", "5", "6", "7", "8", "9"}) {
      if (reader_.looking_at(digit)) reader_.fail("has a back reference, which is not supported,");
    }
    for (const std::string_view anchor : {"b", "B", "A", "Z", "z", "G"}) {
      if (reader_.looking_at(anchor)) {
        reader_.fail(absl::StrCat("has the anchor \\", std::string(anchor), ", which is not supported,"));
      }
    }
    const CodePoints set = reader_.take_escape();
    if (set.empty() || set.ranges().front().first != set.ranges().back().last) return one_of(set);
    std::string character;
    append_utf8(set.ranges().front().first, character);
    return text(character);
  }

  Expression group(int depth) {
    if (depth > kMaxPatternDepth) {
      reader_.fail(absl::StrCat("has more than ", kMaxPatternDepth, " parentheses inside each other"));
      return {};
    }
    if (reader_.take("?")) skip_group_head();
    Expression inside = alternatives(depth);
    if (!reader_.take(")")) reader_.fail("has a parenthesis that is not closed");
    return inside;
  }

  void skip_group_head() {
    if (reader_.take(":")) return;
    const bool looks_around = reader_.looking_at("=") || reader_.looking_at("!") ||
                              reader_.looking_at("<=") || reader_.looking_at("<!");
    if (looks_around) return reader_.fail("has a look-around, which is not supported,");
    for (const std::string_view head : kNamedGroups) {
      if (!reader_.take(head)) continue;
      while (!reader_.at_end() && !reader_.take(">")) reader_.take_character();
      return;
    }
    reader_.fail("has a flag or a group that is not supported");
  }

  PatternReader reader_;
  const RegexMatch match_;
};

}  // namespace

absl::StatusOr<Expression> parse_regex(std::string_view source, RegexMatch match) {
  return RegexParser(source, match).run();
}

}  // namespace octet::router
