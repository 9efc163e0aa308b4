#include "router/api/json_text.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/utf8.h"

namespace octet::router {
namespace {

constexpr size_t kMaxDepth = 32;

bool all_finite(const boost::json::value& value) {
  switch (value.kind()) {
    case boost::json::kind::double_:
      return std::isfinite(value.get_double());
    case boost::json::kind::array:
      return std::all_of(value.get_array().begin(), value.get_array().end(), all_finite);
    case boost::json::kind::object:
      return std::all_of(value.get_object().begin(), value.get_object().end(),
                         [](const auto& member) { return all_finite(member.value()); });
    default:
      return true;
  }
}

// The code point of a whole character.
char32_t code_point(std::string_view character) {
  const auto lead = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return lead;
  char32_t code = lead & (0xFF >> (character.size() + 1));
  for (const char c : character.substr(1)) code = (code << 6) | (static_cast<unsigned char>(c) & 0x3F);
  return code;
}

void append_escape(std::string& out, char32_t code_unit) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kHex[(code_unit >> shift) & 0xF];
}

// Stands for itself in a string.
bool is_plain(char c) {
  return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

void append_ascii(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    default:
      if (static_cast<unsigned char>(c) < 0x20) {
        append_escape(out, static_cast<unsigned char>(c));
      } else {
        out += c;
      }
  }
}

void append_number(std::string& out, double number) {
  if (!std::isfinite(number)) {
    out += "null";
    return;
  }
  const double magnitude = std::fabs(number);
  const bool fixed = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  std::array<char, 64> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number,
                                 fixed ? std::chars_format::fixed : std::chars_format::scientific)
                       .ptr;
  const std::string_view digits(buffer.data(), static_cast<size_t>(end - buffer.data()));
  out += digits;
  if (fixed && digits.find('.') == std::string_view::npos) out += ".0";
}

void append_value(std::string& out, const boost::json::value& value, JsonStyle style);

void append_object(std::string& out, const boost::json::object& object, JsonStyle style) {
  bool is_first = true;
  const auto append_member = [&](const boost::json::key_value_pair& member) {
    if (!std::exchange(is_first, false)) out += style == JsonStyle::kSpaced ? ", " : ",";
    append_json_string(out, member.key(), style);
    out += style == JsonStyle::kSpaced ? ": " : ":";
    append_value(out, member.value(), style);
  };
  out += '{';
  if (style == JsonStyle::kSortedAscii) {
    std::vector<const boost::json::key_value_pair*> members;
    members.reserve(object.size());
    for (const auto& member : object) members.push_back(&member);
    std::sort(members.begin(), members.end(),
              [](const auto* a, const auto* b) { return a->key() < b->key(); });
    for (const auto* member : members) append_member(*member);
  } else {
    for (const auto& member : object) append_member(member);
  }
  out += '}';
}

void append_value(std::string& out, const boost::json::value& value, JsonStyle style) {
  switch (value.kind()) {
    case boost::json::kind::null:
      out += "null";
      return;
    case boost::json::kind::bool_:
      out += value.get_bool() ? "true" : "false";
      return;
    case boost::json::kind::int64:
      absl::StrAppend(&out, value.get_int64());
      return;
    case boost::json::kind::uint64:
      absl::StrAppend(&out, value.get_uint64());
      return;
    case boost::json::kind::double_:
      append_number(out, value.get_double());
      return;
    case boost::json::kind::string:
      append_json_string(out, value.get_string(), style);
      return;
    case boost::json::kind::object:
      append_object(out, value.get_object(), style);
      return;
    case boost::json::kind::array: {
      out += '[';
      bool first = true;
      for (const auto& element : value.get_array()) {
        if (!first) out += style == JsonStyle::kSpaced ? ", " : ",";
        first = false;
        append_value(out, element, style);
      }
      out += ']';
      return;
    }
  }
}

}  // namespace

absl::StatusOr<boost::json::value> parse_json(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = kMaxDepth;
  boost::json::stream_parser parser({}, options);
  boost::json::error_code error;
  const size_t num_parsed = parser.write_some(text, error);
  if (!error && num_parsed < text.size()) error = boost::json::error::extra_data;
  if (!error) parser.finish(error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("the body is not valid JSON at byte ", num_parsed, ": ", error.message()));
  }
  boost::json::value value = parser.release();
  if (!all_finite(value)) return absl::InvalidArgumentError("the body holds a number that is out of range");
  return value;
}

absl::StatusOr<boost::json::object> parse_json_object(std::string_view text) {
  absl::StatusOr<boost::json::value> value = parse_json(text);
  if (!value.ok()) return value.status();
  if (!value->is_object()) return absl::InvalidArgumentError("the body must be a JSON object");
  return std::move(value->get_object());
}

void append_json_string(std::string& out, std::string_view text, JsonStyle style) {
  out += '"';
  while (!text.empty()) {
    const size_t num_plain =
        static_cast<size_t>(std::find_if_not(text.begin(), text.end(), is_plain) - text.begin());
    out += text.substr(0, num_plain);
    text.remove_prefix(num_plain);
    if (text.empty()) break;
    const Utf8Scan scan = scan_utf8(text);
    const std::string_view character =
        scan.front == Utf8Front::kCharacter ? text.substr(0, scan.num_bytes) : kReplacementCharacter;
    text.remove_prefix(scan.num_bytes);
    if (character.size() == 1) {
      append_ascii(out, character[0]);
    } else if (style != JsonStyle::kSortedAscii) {
      out += character;
    } else if (const char32_t code = code_point(character); code < 0x10000) {
      append_escape(out, code);
    } else {  // a surrogate pair
      append_escape(out, 0xD800 + ((code - 0x10000) >> 10));
      append_escape(out, 0xDC00 + ((code - 0x10000) & 0x3FF));
    }
  }
  out += '"';
}

void append_json(std::string& out, const boost::json::value& value, JsonStyle style) {
  append_value(out, value, style);
}

void append_json(std::string& out, const boost::json::object& object, JsonStyle style) {
  append_object(out, object, style);
}

std::string json_text(const boost::json::value& value, JsonStyle style) {
  std::string out;
  append_value(out, value, style);
  return out;
}

std::string json_text(const boost::json::object& object, JsonStyle style) {
  std::string out;
  append_object(out, object, style);
  return out;
}

}  // namespace octet::router
