#include "router/grammar/schema_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <vector>

#include "router/grammar/json_grammar.h"

namespace octet::router {
namespace {

namespace json = boost::json;

constexpr std::string_view kTypes[] = {"string", "number", "integer", "boolean", "object", "array", "null"};
constexpr size_t kMaxCompared = 16;  // values of an enum
constexpr int kMaxReferences = 16;   // to references, when schemas are compared

std::string_view view(json::string_view text) {
  return {text.data(), text.size()};
}

// Shortest digits that give the number back.
std::string number_text(const json::value& value) {
  if (const int64_t* number = value.if_int64()) return std::to_string(*number);
  if (const uint64_t* number = value.if_uint64()) return std::to_string(*number);
  std::array<char, 64> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value.get_double()).ptr;
  return {buffer.data(), end};
}

// Through references, as far as they go.
const json::object* schema_object(const json::value& root, const json::value& schema) {
  const json::value* at = &schema;
  for (int i = 0; i < kMaxReferences && at != nullptr && at->is_object(); ++i) {
    const json::value* const reference = at->get_object().if_contains("$ref");
    if (reference == nullptr) return &at->get_object();
    if (!reference->is_string()) return nullptr;
    at = find_reference(root, view(reference->get_string()));
  }
  return nullptr;
}

// All values that a schema with const or enum allows.
std::optional<std::vector<const json::value*>> constants_of(const json::object& schema) {
  std::vector<const json::value*> values;
  if (const json::value* value = schema.if_contains("const")) {
    values.push_back(value);
    return values;
  }
  const json::value* const list = schema.if_contains("enum");
  if (list == nullptr || !list->is_array()) return std::nullopt;
  for (const json::value& value : list->get_array()) values.push_back(&value);
  return values;
}

// All types that a schema allows; numbers are one, whole or not.
std::optional<std::vector<std::string_view>> types_of(const json::object& schema) {
  const json::value* const type = schema.if_contains("type");
  std::vector<std::string_view> types;
  const auto add = [&](const json::value& name) {
    const std::string_view text = name.is_string() ? view(name.get_string()) : "";
    types.push_back(text == "integer" ? "number" : text);
  };
  if (type == nullptr) return std::nullopt;
  if (const json::array* list = type->if_array()) {
    for (const json::value& name : *list) add(name);
  } else {
    add(*type);
  }
  return types;
}

bool exclude_by_value(const json::object& a, const json::object& b) {
  const auto types_a = types_of(a);
  const auto types_b = types_of(b);
  if (types_a && types_b) {
    const bool share = std::any_of(types_a->begin(), types_a->end(), [&](std::string_view type) {
      return std::find(types_b->begin(), types_b->end(), type) != types_b->end();
    });
    if (!share) return true;
  }
  const auto constants_a = constants_of(a);
  const auto constants_b = constants_of(b);
  if (!constants_a || !constants_b) return false;
  if (std::max(constants_a->size(), constants_b->size()) > kMaxCompared) return false;
  return std::none_of(constants_a->begin(), constants_a->end(), [&](const json::value* x) {
    return std::any_of(constants_b->begin(), constants_b->end(), [&](const json::value* y) {
      const bool both_numbers = x->is_number() && y->is_number();
      return both_numbers ? x->to_number<double>() == y->to_number<double>() : *x == *y;
    });
  });
}

bool requires_property(const json::object& schema, json::string_view name) {
  const json::value* const required = schema.if_contains("required");
  if (required == nullptr || !required->is_array()) return false;
  const json::array& names = required->get_array();
  return std::any_of(names.begin(), names.end(), [&](const json::value& other) {
    return other.is_string() && other.get_string() == name;
  });
}

bool is_object_schema(const json::object& schema) {
  const auto types = types_of(schema);
  return types && types->size() == 1 && types->front() == "object";
}

bool exclude_by_property(const json::value& root, const json::object& a, const json::object& b) {
  if (!is_object_schema(a) || !is_object_schema(b)) return false;
  const json::value* const properties_a = a.if_contains("properties");
  const json::value* const properties_b = b.if_contains("properties");
  if (properties_a == nullptr || properties_b == nullptr || !properties_a->is_object() ||
      !properties_b->is_object()) {
    return false;
  }
  for (const auto& property : properties_a->get_object()) {
    const json::value* const other = properties_b->get_object().if_contains(property.key());
    if (other == nullptr || !requires_property(a, property.key()) || !requires_property(b, property.key()))
      continue;
    const json::object* const schema = schema_object(root, property.value());
    const json::object* const other_schema = schema_object(root, *other);
    if (schema != nullptr && other_schema != nullptr && exclude_by_value(*schema, *other_schema)) return true;
  }
  return false;
}

}  // namespace

bool all_finite(const json::value& value) {
  if (const double* number = value.if_double()) return std::isfinite(*number);
  if (const json::array* array = value.if_array())
    return std::all_of(array->begin(), array->end(), all_finite);
  if (const json::object* object = value.if_object()) {
    return std::all_of(object->begin(), object->end(),
                       [](const auto& member) { return all_finite(member.value()); });
  }
  return true;
}

bool is_type_name(std::string_view name) {
  return std::find(std::begin(kTypes), std::end(kTypes), name) != std::end(kTypes);
}

bool has_type(const json::value& value, std::string_view type) {
  switch (value.kind()) {
    case json::kind::null:
      return type == "null";
    case json::kind::bool_:
      return type == "boolean";
    case json::kind::string:
      return type == "string";
    case json::kind::array:
      return type == "array";
    case json::kind::object:
      return type == "object";
    case json::kind::double_:
      return type == "number" || (type == "integer" && std::trunc(value.get_double()) == value.get_double());
    case json::kind::int64:
    case json::kind::uint64:
      return type == "number" || type == "integer";
  }
  return false;
}

Expression constant(const json::value& value, const Expression& space) {
  if (value.is_number()) return text(number_text(value));
  if (value.is_string()) return text(json_string(view(value.get_string())));
  if (value.is_bool()) return text(value.get_bool() ? "true" : "false");
  if (value.is_null()) return text("null");
  const bool is_array = value.is_array();
  std::vector<Expression> parts = {text(is_array ? "[" : "{"), space};
  const auto add_comma = [&] {
    if (parts.size() == 2) return;
    parts.push_back(text(","));
    parts.push_back(space);
  };
  if (is_array) {
    for (const json::value& element : value.get_array()) {
      add_comma();
      parts.push_back(constant(element, space));
    }
  } else {
    for (const auto& member : value.get_object()) {
      add_comma();
      parts.push_back(text(json_string(view(member.key())) + ":"));
      parts.push_back(space);
      parts.push_back(constant(member.value(), space));
    }
  }
  parts.push_back(space);
  parts.push_back(text(is_array ? "]" : "}"));
  return sequence(std::move(parts));
}

std::optional<DecimalBound> decimal_bound(const json::value& value) {
  if (!value.is_number()) return std::nullopt;
  std::array<char, 512> buffer;
  std::string digits = number_text(value);
  if (value.is_double()) {
    const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value.get_double(),
                                            std::chars_format::fixed);
    if (error != std::errc()) return std::nullopt;
    digits.assign(buffer.data(), end);
  }
  DecimalBound bound;
  bound.is_negative = digits.starts_with('-');
  if (bound.is_negative) digits.erase(0, 1);
  const size_t point = std::min(digits.find('.'), digits.size());
  if (point > kMaxWholeDigits) return std::nullopt;
  bound.whole = std::stoull(digits.substr(0, point));
  if (point < digits.size()) bound.fraction = digits.substr(point + 1);
  while (bound.fraction.ends_with('0')) bound.fraction.pop_back();
  if (bound.fraction.size() > kMaxFractionDigits) return std::nullopt;
  if (bound.whole == 0 && bound.fraction.empty()) bound.is_negative = false;
  return bound;
}

const json::value* find_reference(const json::value& root, std::string_view reference) {
  if (!reference.starts_with('#')) return nullptr;
  reference.remove_prefix(1);
  const json::value* at = &root;
  while (!reference.empty()) {
    if (reference.front() != '/') return nullptr;
    reference.remove_prefix(1);
    const size_t end = std::min(reference.find('/'), reference.size());
    std::string name(reference.substr(0, end));
    reference.remove_prefix(end);
    for (size_t i = 0; (i = name.find('~', i)) != std::string::npos; ++i) {
      name.replace(i, 2, name.compare(i, 2, "~1") == 0 ? "/" : "~");
    }
    if (at->is_object()) {
      at = at->get_object().if_contains(name);
    } else if (at->is_array()) {
      size_t index = 0;
      const auto [stop, error] = std::from_chars(name.data(), name.data() + name.size(), index);
      const bool is_index = error == std::errc() && stop == name.data() + name.size();
      at = is_index ? at->get_array().if_contains(index) : nullptr;
    } else {
      at = nullptr;
    }
    if (at == nullptr) return nullptr;
  }
  return at;
}

std::optional<std::pair<size_t, size_t>> find_overlap(const json::value& root, const json::array& schemas) {
  for (size_t i = 0; i < schemas.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const json::object* const a = schema_object(root, schemas[j]);
      const json::object* const b = schema_object(root, schemas[i]);
      const bool exclude =
          a != nullptr && b != nullptr && (exclude_by_value(*a, *b) || exclude_by_property(root, *a, *b));
      if (!exclude) return std::pair(j, i);
    }
  }
  return std::nullopt;
}

}  // namespace octet::router
