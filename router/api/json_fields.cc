#include "router/api/json_fields.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::router {
namespace {

namespace json = boost::json;

// As much of an unknown field's name as an error repeats.
constexpr size_t kMaxShownNameBytes = 64;

std::string_view view(json::string_view text) {
  return {text.data(), text.size()};
}

std::string element_name(std::string_view name, size_t index) {
  return absl::StrCat(absl_view(name), "[", index, "]");
}

}  // namespace

std::string_view json_type_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
      return "an integer";
    case json::kind::double_:
      return "a number";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "an array";
    case json::kind::object:
      return "an object";
  }
  return "an unknown type";
}

JsonFields::JsonFields(const json::object& object, std::string parent)
    : object_(object), parent_(std::move(parent)) {}

const json::value* JsonFields::any(std::string_view name) {
  known_.push_back(name);
  const json::value* value = object_.if_contains({name.data(), name.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<std::string> JsonFields::string(std::string_view name) {
  const json::value* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (const json::string* text = value->if_string()) return std::string(view(*text));
  fail_type(name, "a string", *value);
  return std::nullopt;
}

std::optional<bool> JsonFields::boolean(std::string_view name) {
  const json::value* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (const bool* truth = value->if_bool()) return *truth;
  fail_type(name, "a boolean", *value);
  return std::nullopt;
}

std::optional<double> JsonFields::number(std::string_view name) {
  const json::value* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) return value->to_number<double>();
  fail_type(name, "a number", *value);
  return std::nullopt;
}

std::optional<int64_t> JsonFields::integer(std::string_view name) {
  const json::value* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (const int64_t* number = value->if_int64()) return *number;
  if (value->is_uint64()) {
    fail(name, absl::StrCat("must be at most ", INT64_MAX, ", got ", value->get_uint64()));
  } else {
    fail_type(name, "an integer", *value);
  }
  return std::nullopt;
}

std::optional<uint64_t> JsonFields::unsigned_integer(std::string_view name) {
  const json::value* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_uint64()) return value->get_uint64();
  if (const int64_t* number = value->if_int64()) {
    if (*number >= 0) return static_cast<uint64_t>(*number);
    fail(name, absl::StrCat("must be at least 0, got ", *number));
  } else {
    fail_type(name, "an integer", *value);
  }
  return std::nullopt;
}

std::vector<std::string> JsonFields::strings(std::string_view name) {
  const json::value* value = any(name);
  if (value == nullptr) return {};
  const json::array* elements = value->if_array();
  if (elements == nullptr) {
    fail_type(name, "an array of strings", *value);
    return {};
  }
  std::vector<std::string> texts;
  for (const json::value& element : *elements) {
    const json::string* text = element.if_string();
    if (text == nullptr) {
      fail_type(element_name(name, texts.size()), "a string", element);
      return {};
    }
    texts.emplace_back(view(*text));
  }
  return texts;
}

std::vector<std::string> JsonFields::string_or_strings(std::string_view name) {
  const json::value* value = object_.if_contains({name.data(), name.size()});
  if (value == nullptr || !value->is_string()) return strings(name);
  known_.push_back(name);
  return {std::string(view(value->get_string()))};
}

std::vector<int64_t> JsonFields::integers(std::string_view name) {
  const json::value* value = any(name);
  if (value == nullptr) return {};
  const json::array* elements = value->if_array();
  if (elements == nullptr) {
    fail_type(name, "an array of integers", *value);
    return {};
  }
  std::vector<int64_t> numbers;
  for (const json::value& element : *elements) {
    const int64_t* number = element.if_int64();
    if (number == nullptr) {
      fail_type(element_name(name, numbers.size()), "an integer", element);
      return {};
    }
    numbers.push_back(*number);
  }
  return numbers;
}

std::map<int64_t, double> JsonFields::numbers_by_integer(std::string_view name) {
  std::map<int64_t, double> numbers;
  const json::object* members = object(name);
  if (members == nullptr) return numbers;
  for (const auto& member : *members) {
    const std::string_view key = view(member.key());
    int64_t number = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), number);
    if (error != std::errc() || end != key.data() + key.size()) {
      fail(name,
           absl::StrCat("keys must be integers, got '", absl_view(key.substr(0, kMaxShownNameBytes)), "'"));
      return {};
    }
    if (!member.value().is_number()) {
      fail_type(absl::StrCat(absl_view(name), ".", number), "a number", member.value());
      return {};
    }
    numbers[number] = member.value().to_number<double>();
  }
  return numbers;
}

const json::object* JsonFields::object(std::string_view name) {
  const json::value* value = any(name);
  if (value == nullptr) return nullptr;
  if (const json::object* members = value->if_object()) return members;
  fail_type(name, "an object", *value);
  return nullptr;
}

void JsonFields::refuse(std::string_view name) {
  if (any(name) != nullptr) fail(name, "is not supported");
}

void JsonFields::refuse_unless(std::string_view name, const json::value& neutral) {
  const json::value* value = any(name);
  if (value != nullptr && *value != neutral) {
    fail(name, absl::StrCat("is not supported; only ", json::serialize(neutral), " is accepted"));
  }
}

void JsonFields::fail(std::string_view name, std::string_view message) {
  fail(invalid_field(path(name), message));
}

void JsonFields::fail(const absl::Status& status) {
  if (error_.ok()) error_ = status;
}

void JsonFields::fail_type(std::string_view name, std::string_view expected, const json::value& value) {
  fail(name, absl::StrCat("must be ", absl_view(expected), ", got ", absl_view(json_type_name(value))));
}

absl::Status JsonFields::finish() const {
  if (!error_.ok()) return error_;
  for (const auto& member : object_) {
    const std::string_view name = view(member.key());
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    const std::string shown = path(name.substr(0, kMaxShownNameBytes));
    return with_field(absl::InvalidArgumentError(absl::StrCat("unknown field '", shown, "'")), shown);
  }
  return absl::OkStatus();
}

std::string JsonFields::path(std::string_view name) const {
  return parent_.empty() ? std::string(name) : absl::StrCat(parent_, ".", absl_view(name));
}

}  // namespace octet::router
