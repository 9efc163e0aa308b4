// Grammars in EBNF, as llama.cpp (GBNF) and xgrammar write them:
//
//   root  ::= "[" item ("," item)* "]"    # the output matches the rule root
//   item  ::= [a-z]+ | digit{2,4} | root
//   digit ::= [0-9]
//
// Rules may call each other and themselves, but not begin with themselves.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "router/grammar/expression.h"

namespace octet::router {

// source: valid UTF-8. Errors: INVALID_ARGUMENT saying what, and where.
absl::StatusOr<Grammar> parse_ebnf(std::string_view source);

}  // namespace octet::router
