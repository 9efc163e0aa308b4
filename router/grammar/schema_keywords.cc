#include "router/grammar/schema_keywords.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/grammar/pattern_reader.h"

namespace octet::router {
namespace {

constexpr size_t kMaxPathBytes = 128;

// They say something about values and restrict none. $defs and definitions are only reached by $ref.
constexpr std::string_view kAnnotations[] = {
    "$comment",    "$defs",         "$id",      "$schema",  "default", "definitions", "deprecated",
    "description", "discriminator", "examples", "readOnly", "title",   "writeOnly"};

}  // namespace

absl::Status schema_error(std::string_view path, std::string_view why) {
  const std::string_view shown =
      path.size() > kMaxPathBytes ? path.substr(path.size() - kMaxPathBytes) : path;
  return absl::InvalidArgumentError(
      absl::StrCat("at \"", absl::Utf8SafeCHexEscape(absl_view(shown)), "\": ", absl_view(why)));
}

SchemaKeywords::SchemaKeywords(const boost::json::object& schema, std::string path)
    : schema_(schema), path_(std::move(path)) {}

bool SchemaKeywords::has_any(std::initializer_list<std::string_view> keywords) const {
  return std::any_of(keywords.begin(), keywords.end(), [this](std::string_view name) { return has(name); });
}

const boost::json::value* SchemaKeywords::any(std::string_view keyword) {
  read_.push_back(keyword);
  return schema_.if_contains(view(keyword));
}

const boost::json::object* SchemaKeywords::object(std::string_view keyword) {
  const boost::json::value* value = any(keyword);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) fail(keyword, "must be an object");
  return value->if_object();
}

const boost::json::array* SchemaKeywords::array(std::string_view keyword) {
  const boost::json::value* value = any(keyword);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) fail(keyword, "must be an array");
  return value->if_array();
}

std::optional<std::string_view> SchemaKeywords::string(std::string_view keyword) {
  const boost::json::value* value = any(keyword);
  if (value == nullptr) return std::nullopt;
  if (const boost::json::string* text = value->if_string())
    return std::string_view(text->data(), text->size());
  fail(keyword, "must be a string");
  return std::nullopt;
}

std::optional<bool> SchemaKeywords::boolean(std::string_view keyword) {
  const boost::json::value* value = any(keyword);
  if (value == nullptr) return std::nullopt;
  if (value->is_bool()) return value->get_bool();
  fail(keyword, "must be true or false");
  return std::nullopt;
}

std::optional<uint32_t> SchemaKeywords::count(std::string_view keyword) {
  const boost::json::value* value = any(keyword);
  if (value == nullptr) return std::nullopt;
  const int64_t* number = value->if_int64();
  if (number != nullptr && *number >= 0 && *number <= kMaxRepetitions) return static_cast<uint32_t>(*number);
  fail(keyword, absl::StrCat("must be a whole number from 0 to ", kMaxRepetitions));
  return std::nullopt;
}

std::optional<std::string> SchemaKeywords::unread() const {
  for (const auto& member : schema_) {
    const std::string_view name(member.key().data(), member.key().size());
    const bool is_known =
        std::find(read_.begin(), read_.end(), name) != read_.end() ||
        std::find(std::begin(kAnnotations), std::end(kAnnotations), name) != std::end(kAnnotations);
    if (!is_known) return std::string(name);
  }
  return std::nullopt;
}

std::string SchemaKeywords::path(std::string_view keyword) const {
  return absl::StrCat(path_, "/", absl_view(keyword));
}

void SchemaKeywords::fail(std::string_view keyword, std::string_view why) {
  if (error_.ok()) error_ = schema_error(path(keyword), why);
}

}  // namespace octet::router
