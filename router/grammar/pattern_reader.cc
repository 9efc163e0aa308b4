#include "router/grammar/pattern_reader.h"

#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::router {
namespace {

CodePoints single(uint32_t character) {
  return {{character, character}};
}

bool is_ascii_letter_or_digit(uint32_t character) {
  return character < 0x80 && word_characters().contains(character) && character != '_';
}

}  // namespace

CodePoints digit_characters() {
  return {{'0', '9'}};
}
CodePoints word_characters() {
  return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
}
CodePoints space_characters() {
  return {{'\t', '\r'}, {' ', ' '}};
}
CodePoints any_but_line_feed() {
  return single('\n').complement();
}

bool PatternReader::take(std::string_view text) {
  if (!looking_at(text)) return false;
  rest_.remove_prefix(text.size());
  return true;
}

char32_t PatternReader::take_character() {
  if (at_end()) {
    fail("ends too early");
    return 0;
  }
  return take_code_point(rest_);
}

void PatternReader::fail(std::string_view why) {
  if (!error_.ok()) return;
  error_ =
      absl::InvalidArgumentError(absl::StrCat(absl_view(why), " at byte ", source_.size() - rest_.size()));
}

uint32_t PatternReader::take_hex(size_t num_digits) {
  uint32_t value = 0;
  const std::string_view digits = rest_.substr(0, num_digits);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  const bool is_surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (digits.size() < num_digits || error != std::errc() || end != digits.data() + num_digits ||
      is_surrogate) {
    fail(absl::StrCat("needs ", num_digits, " hexadecimal digits of a character"));
    return 0;
  }
  rest_.remove_prefix(num_digits);
  return value;
}

CodePoints PatternReader::take_escape() {
  const char32_t character = take_character();
  switch (character) {
    case 'd':
      return digit_characters();
    case 'D':
      return digit_characters().complement();
    case 'w':
      return word_characters();
    case 'W':
      return word_characters().complement();
    case 's':
      return space_characters();
    case 'S':
      return space_characters().complement();
    case 'n':
      return single('\n');
    case 'r':
      return single('\r');
    case 't':
      return single('\t');
    case 'f':
      return single('\f');
    case 'v':
      return single('\v');
    case 'x':
      return single(take_hex(2));
    case 'u':
      return single(take_hex(4));
    case 'U':
      return single(take_hex(8));
    default:
      break;
  }
  if (is_ascii_letter_or_digit(character)) {
    const std::string name(1, static_cast<char>(character));
    fail(absl::StrCat("has the escape \\", name, ", which is not supported,"));
    return {};
  }
  return single(character);
}

CodePoints PatternReader::take_class_item(bool& is_single) {
  is_single = true;
  if (!take("\\")) return single(take_character());
  if (take("b")) return single('\b');
  const CodePoints escaped = take_escape();
  is_single = !escaped.empty() && escaped.ranges().front().first == escaped.ranges().back().last;
  return escaped;
}

CodePoints PatternReader::take_class() {
  const bool is_complement = take("^");
  std::vector<CodePoints::Range> ranges;
  // A closing bracket that comes first is a character.
  bool is_first = true;
  while (!at_end() && (is_first || !looking_at("]"))) {
    is_first = false;
    bool is_single = false;
    const CodePoints item = take_class_item(is_single);
    const bool is_range = looking_at("-") && rest_.size() > 1 && rest_[1] != ']';
    if (!is_range) {
      ranges.insert(ranges.end(), item.ranges().begin(), item.ranges().end());
      continue;
    }
    take("-");
    bool is_end_single = false;
    const CodePoints end = take_class_item(is_end_single);
    if (!is_single || !is_end_single || item.empty() || end.empty() ||
        item.ranges().front().first > end.ranges().front().first) {
      fail("has a range in brackets that is not from a character to a later one");
      return {};
    }
    ranges.push_back({.first = item.ranges().front().first, .last = end.ranges().front().first});
  }
  if (!take("]")) fail("has a bracket that is not closed");
  const CodePoints set(std::move(ranges));
  return is_complement ? set.complement() : set;
}

std::optional<uint32_t> PatternReader::take_count() {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
  if (error == std::errc::invalid_argument) return std::nullopt;
  if (error != std::errc() || value > kMaxRepetitions) {
    fail(absl::StrCat("repeats more than ", kMaxRepetitions, " times"));
    return std::nullopt;
  }
  rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
  return value;
}

void PatternReader::count_part() {
  if (++num_parts_ > kMaxExpressions) fail(absl::StrCat("has more than ", kMaxExpressions, " parts"));
}

Expression PatternReader::take_repetition(Expression part, bool& is_repeated) {
  count_part();
  is_repeated = true;
  if (take("*")) return repeat(std::move(part), 0, Expression::kNoLimit);
  if (take("+")) return repeat(std::move(part), 1, Expression::kNoLimit);
  if (take("?")) return optional(std::move(part));
  is_repeated = false;
  if (!looking_at("{")) return part;
  const std::string_view before = rest_;
  take("{");
  const std::optional<uint32_t> min = take_count();
  const bool has_comma = take(",");
  const std::optional<uint32_t> max = has_comma ? take_count() : min;
  if (!error_.ok()) return part;
  if (!take("}") || (!min && !max)) {
    rest_ = before;
    return part;
  }
  is_repeated = true;
  if (max && min.value_or(0) > *max) fail("has a repetition whose end is below its start");
  if (max == 0U) return sequence({});
  return repeat(std::move(part), min.value_or(0), max.value_or(Expression::kNoLimit));
}

}  // namespace octet::router
