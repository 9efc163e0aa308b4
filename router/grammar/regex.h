// Regular expressions as Python's re and JSON schema's ECMA-262 write them alike: characters, classes,
// groups, alternatives and repetitions. \d, \w and \s are ASCII. What no automaton does (back references,
// look-around, word boundaries) and what is rare (flags, \p{}, anchors inside) is refused by name.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "router/grammar/expression.h"

namespace octet::router {

enum class RegexMatch {
  kWhole,     // the whole text matches, with or without anchors
  kAnywhere,  // a part of the text matches; ^ and $ stand for its beginning and end
};

// source: valid UTF-8. Errors: INVALID_ARGUMENT saying what, and where.
absl::StatusOr<Expression> parse_regex(std::string_view source, RegexMatch match);

}  // namespace octet::router
