#include "router/grammar/number_range.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "router/grammar/json_grammar.h"

namespace octet::router {
namespace {

constexpr uint64_t kMaxWhole = 999'999'999'999'999'999;

Expression nothing() {
  return choice({});
}
Expression digit_from_to(char first, char last) {
  if (first > last) return nothing();
  return one_of({{static_cast<uint32_t>(first), static_cast<uint32_t>(last)}});
}
Expression digits(uint32_t min, uint32_t max) {
  return repeat(digit_from_to('0', '9'), min, max);
}
Expression zeros(uint32_t min) {
  return repeat(text("0"), min, kMaxFractionDigits);
}
Expression above_zero() {
  return sequence({zeros(0), digit_from_to('1', '9'), digits(0, kMaxFractionDigits)});
}

// Strings of as many digits as both bounds have.
Expression digit_strings(std::string_view low, std::string_view high) {
  if (low == high) return text(low);
  size_t i = 0;
  while (low[i] == high[i]) ++i;
  const size_t size = low.size();
  const auto free_digits = [&](size_t from) {
    const auto number = static_cast<uint32_t>(size - from);
    return number == 0 ? sequence({}) : digits(number, number);
  };
  // Whether everything that begins as the bound's first `from` digits is inside it: at its end, or before
  // zeros or nines only.
  const auto is_low_free = [&](size_t from) { return low.find_first_not_of('0', from) == low.npos; };
  const auto is_high_free = [&](size_t from) { return high.find_first_not_of('9', from) == high.npos; };
  std::vector<Expression> forms;
  forms.push_back(sequence({digit_from_to(static_cast<char>(low[i] + (is_low_free(i + 1) ? 0 : 1)),
                                          static_cast<char>(high[i] - (is_high_free(i + 1) ? 0 : 1))),
                            free_digits(i + 1)}));
  // Those that begin as a bound does are cut off one digit after the other.
  for (size_t j = i + 1; !is_low_free(j); ++j) {
    const bool is_last = is_low_free(j + 1);
    forms.push_back(
        sequence({text(low.substr(i, j - i)),
                  digit_from_to(static_cast<char>(low[j] + (is_last ? 0 : 1)), '9'), free_digits(j + 1)}));
  }
  for (size_t j = i + 1; !is_high_free(j); ++j) {
    const bool is_last = is_high_free(j + 1);
    forms.push_back(
        sequence({text(high.substr(i, j - i)),
                  digit_from_to('0', static_cast<char>(high[j] - (is_last ? 0 : 1))), free_digits(j + 1)}));
  }
  return sequence({text(low.substr(0, i)), choice(std::move(forms))});
}

Expression wholes(uint64_t low, uint64_t high) {
  std::vector<Expression> forms;
  while (low <= high) {
    const std::string first = std::to_string(low);
    const std::string last_of_length(first.size(), '9');
    const uint64_t last = std::min<uint64_t>(high, std::stoull(last_of_length));
    forms.push_back(digit_strings(first, std::to_string(last)));
    low = last + 1;
  }
  return choice(std::move(forms));
}

std::string without_last_zeros(std::string_view digits_of_fraction) {
  const size_t last = digits_of_fraction.find_last_not_of('0');
  return std::string(digits_of_fraction.substr(0, last == std::string_view::npos ? 0 : last + 1));
}

// Digits after a point, of a fraction at least or at most .bound; none are .0.
Expression digits_at_least(std::string_view bound, bool is_excluded) {
  std::vector<Expression> forms;
  for (size_t i = 0; i < bound.size(); ++i) {
    forms.push_back(sequence({text(bound.substr(0, i)), digit_from_to(static_cast<char>(bound[i] + 1), '9'),
                              digits(0, kMaxFractionDigits)}));
  }
  forms.push_back(sequence({text(bound), is_excluded ? above_zero() : digits(0, kMaxFractionDigits)}));
  return choice(std::move(forms));
}
Expression digits_at_most(std::string_view bound, bool is_excluded) {
  std::vector<Expression> forms;
  for (size_t i = 0; i < bound.size(); ++i) {
    forms.push_back(text(bound.substr(0, i)));
    forms.push_back(sequence({text(bound.substr(0, i)), digit_from_to('0', static_cast<char>(bound[i] - 1)),
                              digits(0, kMaxFractionDigits)}));
  }
  if (!is_excluded) forms.push_back(sequence({text(bound), zeros(0)}));
  return choice(std::move(forms));
}

// The point with its digits, or neither where that is allowed. A point has at least a digit after it.
Expression fraction(Expression digits_after_point) {
  return sequence({text("."), std::move(digits_after_point)});
}
Expression any_fraction() {
  return optional(fraction(digits(1, kMaxFractionDigits)));
}
Expression fraction_at_least(const DecimalBound& bound) {
  if (!bound.fraction.empty()) return fraction(digits_at_least(bound.fraction, bound.is_excluded));
  return bound.is_excluded ? fraction(above_zero()) : any_fraction();
}
Expression fraction_at_most(const DecimalBound& bound) {
  if (bound.fraction.empty()) return bound.is_excluded ? nothing() : optional(fraction(zeros(1)));
  std::vector<Expression> forms;
  for (char first = '0'; first < bound.fraction[0]; ++first) {
    forms.push_back(sequence({text({&first, 1}), digits(0, kMaxFractionDigits)}));
  }
  forms.push_back(sequence({text(bound.fraction.substr(0, 1)),
                            digits_at_most(std::string_view(bound.fraction).substr(1), bound.is_excluded)}));
  return optional(fraction(choice(std::move(forms))));
}

// Of two bounds with the same whole part.
Expression fraction_between(const DecimalBound& low, const DecimalBound& high) {
  const size_t num_digits = std::max(low.fraction.size(), high.fraction.size());
  std::string first = low.fraction;
  std::string last = high.fraction;
  first.resize(num_digits, '0');
  last.resize(num_digits, '0');
  if (first > last || (first == last && (low.is_excluded || high.is_excluded))) return nothing();
  if (first == last && first.empty()) return optional(fraction(zeros(1)));
  if (first == last) return fraction(sequence({text(first), zeros(0)}));
  size_t i = 0;
  while (first[i] == last[i]) ++i;
  const std::string common = first.substr(0, i);
  Expression inside = choice(
      {sequence({text(first.substr(0, i + 1)),
                 digits_at_least(without_last_zeros(first.substr(i + 1)), low.is_excluded)}),
       sequence({text(common), digit_from_to(static_cast<char>(first[i] + 1), static_cast<char>(last[i] - 1)),
                 digits(0, kMaxFractionDigits)}),
       sequence({text(last.substr(0, i + 1)),
                 digits_at_most(without_last_zeros(last.substr(i + 1)), high.is_excluded)})});
  Expression with_point = fraction(std::move(inside));
  const bool is_whole_allowed = low.fraction.empty() && !low.is_excluded;
  return is_whole_allowed ? optional(std::move(with_point)) : std::move(with_point);
}

// Without a sign.
Expression magnitudes(const DecimalBound& low, const DecimalBound& high) {
  if (low.whole > high.whole) return nothing();
  if (low.whole == high.whole) {
    return sequence({text(std::to_string(low.whole)), fraction_between(low, high)});
  }
  std::vector<Expression> forms;
  forms.push_back(sequence({text(std::to_string(low.whole)), fraction_at_least(low)}));
  if (high.whole - low.whole > 1) {
    forms.push_back(sequence({wholes(low.whole + 1, high.whole - 1), any_fraction()}));
  }
  forms.push_back(sequence({text(std::to_string(high.whole)), fraction_at_most(high)}));
  return choice(std::move(forms));
}

Expression whole_magnitudes(const DecimalBound& low, const DecimalBound& high) {
  uint64_t first = low.whole;
  if (low.is_excluded || !low.fraction.empty()) ++first;
  uint64_t last = high.whole;
  if (high.is_excluded && high.fraction.empty()) {
    if (last == 0) return nothing();
    --last;
  }
  return wholes(first, last);
}

// The part on each side of zero.
template <typename Magnitudes>
Expression signed_range(const std::optional<DecimalBound>& low, const std::optional<DecimalBound>& high,
                        const Magnitudes& between) {
  const DecimalBound zero;
  DecimalBound above;
  above.is_excluded = true;
  DecimalBound most;
  most.whole = kMaxWhole;
  std::vector<Expression> forms;
  if (!high || !high->is_negative) {
    const bool from_zero = !low || low->is_negative;
    forms.push_back(between(from_zero ? zero : *low, high ? *high : most));
  }
  if (!low || low->is_negative) {
    const bool to_zero = !high || !high->is_negative;
    forms.push_back(sequence({text("-"), between(to_zero ? above : *high, low ? *low : most)}));
  }
  return choice(std::move(forms));
}

}  // namespace

Expression number_range(const std::optional<DecimalBound>& low, const std::optional<DecimalBound>& high) {
  return signed_range(low, high, magnitudes);
}

Expression whole_number_range(const std::optional<DecimalBound>& low,
                              const std::optional<DecimalBound>& high) {
  return signed_range(low, high, whole_magnitudes);
}

}  // namespace octet::router
