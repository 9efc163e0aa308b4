// What a structured output is called in OpenAI's API and in vLLM's extensions of it:
//
//   response_format      {"type": "text"}, {"type": "json_object"} or
//                        {"type": "json_schema", "json_schema": {"schema": {...}}}
//   structured_outputs   {"json": {...}}, and so on for regex, choice, grammar and json_object (true)
//   guided_json, guided_regex, guided_choice, guided_grammar
#pragma once

#include <optional>

#include "router/api/json_fields.h"
#include "router/grammar/structured_output.h"

namespace octet::router {

// Errors are left in fields; more than one of them is one.
std::optional<StructuredOutput> read_structured_output(JsonFields& fields);

}  // namespace octet::router
