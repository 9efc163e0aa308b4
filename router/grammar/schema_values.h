// What of a JSON schema can be said without a grammar: constants, types, references, and which schemas
// exclude each other.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "router/grammar/expression.h"
#include "router/grammar/number_range.h"

namespace octet::router {

inline constexpr size_t kMaxSchemaDepth = 64;  // of the schema's JSON

// JSON has no infinity; a reader makes one of 1e999.
bool all_finite(const boost::json::value& value);
bool is_type_name(std::string_view name);
// As JSON schema has it: 1.0 is an integer.
bool has_type(const boost::json::value& value, std::string_view type);

// This value and no other, with `space` where JSON allows it.
Expression constant(const boost::json::value& value, const Expression& space);

// Nothing for what is no number, or has too many digits.
std::optional<DecimalBound> decimal_bound(const boost::json::value& value);

// The schema that "#/$defs/name" means in root, or null.
const boost::json::value* find_reference(const boost::json::value& root, std::string_view reference);

// The first two schemas for which it is not certain that no value matches both.
std::optional<std::pair<size_t, size_t>> find_overlap(const boost::json::value& root,
                                                      const boost::json::array& schemas);

}  // namespace octet::router
