// What regular expressions and EBNF write alike: characters, escapes, classes in brackets, alternatives and
// how often something is repeated. The first error is kept; after it everything reads as nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "router/grammar/expression.h"

namespace octet::router {

inline constexpr uint32_t kMaxRepetitions = 1'000'000;
inline constexpr int kMaxPatternDepth = 100;  // parentheses inside each other

class PatternReader {
 public:
  // source: valid UTF-8; must outlive this.
  explicit PatternReader(std::string_view source) : source_(source), rest_(source) {}

  bool at_end() const { return rest_.empty() || !error_.ok(); }
  bool looking_at(std::string_view text) const { return !at_end() && rest_.starts_with(text); }
  // Takes the text off if it comes next.
  bool take(std::string_view text);
  char32_t take_character();
  std::string_view rest() const { return at_end() ? std::string_view() : rest_; }
  void skip_bytes(size_t num_bytes) { rest_.remove_prefix(num_bytes); }

  // After a backslash: a class such as \d, or one character.
  CodePoints take_escape();
  // After an opening bracket, up to the closing one.
  CodePoints take_class();
  // After each part: *, +, ?, {2}, {2,}, {,3} or {2,3}, if one comes next; `{` of another form is left.
  Expression take_repetition(Expression part, bool& is_repeated);

  // One or more of what take_one() takes, with | between them.
  template <typename TakeOne>
  Expression take_alternatives(const TakeOne& take_one) {
    std::vector<Expression> parts;
    do {
      count_part();
      parts.push_back(take_one());
    } while (take("|"));
    if (parts.size() == 1) return std::move(parts.front());
    return choice(std::move(parts));
  }

  // Says where: a byte from the start.
  void fail(std::string_view why);
  const absl::Status& error() const { return error_; }

 private:
  void count_part();
  uint32_t take_hex(size_t num_digits);
  std::optional<uint32_t> take_count();
  CodePoints take_class_item(bool& is_single);

  std::string_view source_;
  std::string_view rest_;
  size_t num_parts_ = 0;
  absl::Status error_;
};

// The digits, word characters and spaces of \d, \w and \s, all ASCII; . is everything but a line feed.
CodePoints digit_characters();
CodePoints word_characters();
CodePoints space_characters();
CodePoints any_but_line_feed();

}  // namespace octet::router
