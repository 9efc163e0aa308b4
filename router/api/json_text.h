// JSON in and out, the same for every HTTP API. Reading is strict (RFC 8259, at most 32 levels deep, whole
// UTF-8, finite numbers; of two equal keys the last wins); writing is compact.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace octet::router {

// Errors: INVALID_ARGUMENT saying where the text breaks or what is out of range; the text itself is never
// quoted.
absl::StatusOr<boost::json::value> parse_json(std::string_view text);
// The object that a request body holds. Errors: as parse_json(), and when it is something else.
absl::StatusOr<boost::json::object> parse_json_object(std::string_view text);

enum class JsonStyle {
  kPlain,        // UTF-8 as it is, keys in the order in which they were set
  kSortedAscii,  // as Python's json.dumps(sort_keys=True, separators=(",", ":")) writes it
  kSpaced,       // as Python's json.dumps(ensure_ascii=False) writes it
};

// Never fails: bytes that are not UTF-8 become U+FFFD. Numbers as Python's repr writes them ("1.0", "1e-05").
std::string json_text(const boost::json::value& value, JsonStyle style = JsonStyle::kPlain);
std::string json_text(const boost::json::object& object, JsonStyle style = JsonStyle::kPlain);

void append_json(std::string& out, const boost::json::value& value, JsonStyle style = JsonStyle::kPlain);
void append_json(std::string& out, const boost::json::object& object, JsonStyle style = JsonStyle::kPlain);

// The same for a string alone, quotes included.
void append_json_string(std::string& out, std::string_view text, JsonStyle style = JsonStyle::kPlain);

}  // namespace octet::router
