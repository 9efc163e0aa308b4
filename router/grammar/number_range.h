// Decimal numbers between two bounds, by their digits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "router/grammar/expression.h"

namespace octet::router {

// A bound's absolute value, and which side of zero it lies on.
struct DecimalBound {
  bool is_negative = false;
  uint64_t whole = 0;    // at most 18 digits
  std::string fraction;  // digits after the point, none of them the last zero
  bool is_excluded = false;
};

// Numbers from `low` to `high` without exponents, as JSON writes them; -0 is left out. Without a bound as far
// as 18 digits go.
Expression number_range(const std::optional<DecimalBound>& low, const std::optional<DecimalBound>& high);
// Whole numbers without a point.
Expression whole_number_range(const std::optional<DecimalBound>& low,
                              const std::optional<DecimalBound>& high);

}  // namespace octet::router
