// JSON schemas (draft 2020-12 and the older names of the same) as grammars: everything that matches
// validates. The reverse does not hold: an object has its properties in the schema's order, and others only
// where additionalProperties asks for them, or where the schema names none. Keywords that are not supported
// are refused by name, none is ignored.
//
// Supported: type, enum, const, anyOf, oneOf (of alternatives that exclude each other), allOf (of one), $ref
// inside the schema; properties, required, additionalProperties; items, prefixItems, minItems, maxItems;
// minLength and maxLength, or pattern, or format; minimum, maximum, exclusiveMinimum, exclusiveMaximum; and
// annotations.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "router/grammar/expression.h"

namespace octet::router {

// Errors: INVALID_ARGUMENT saying what and where, as a JSON pointer.
absl::StatusOr<Grammar> json_schema_grammar(std::string_view schema);

}  // namespace octet::router
