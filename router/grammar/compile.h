// A grammar's automaton.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "router/grammar/expression.h"

namespace octet::router {

// As base/byte_automaton.h serialises it. The grammar's expressions nest a few hundred deep at most. Errors:
// INVALID_ARGUMENT when a rule can call itself before any character, nothing matches, or the automaton is
// larger than kMaxAutomatonBytes.
absl::StatusOr<std::string> compile(Grammar grammar);

}  // namespace octet::router
