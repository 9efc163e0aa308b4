#include "router/grammar/json_schema.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cmath>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/grammar/json_formats.h"
#include "router/grammar/json_grammar.h"
#include "router/grammar/number_range.h"
#include "router/grammar/regex.h"
#include "router/grammar/schema_keywords.h"
#include "router/grammar/schema_values.h"

namespace octet::router {
namespace {

namespace json = boost::json;

constexpr size_t kMaxProperties = 256;
constexpr size_t kMaxAlternatives = 256;
constexpr size_t kMaxPrefixItems = 64;

std::string_view view(json::string_view text) {
  return {text.data(), text.size()};
}

// Every schema is a rule, made when it is first referred to and filled in later, so that schemas can refer to
// each other and nothing here calls itself.
class SchemaCompiler {
 public:
  explicit SchemaCompiler(const json::value& root) : root_(root) {}

  absl::StatusOr<Grammar> run() {
    grammar_.set_body(0, sequence({grammar_.space(), call(rule_of(root_, ""))}));
    while (!unfilled_.empty() && error_.ok() && !grammar_.is_too_large()) {
      const Unfilled next = std::move(unfilled_.back());
      unfilled_.pop_back();
      grammar_.set_body(next.rule, expression(*next.schema, next.path));
    }
    if (error_.ok() && grammar_.is_too_large()) {
      return absl::InvalidArgumentError(
          absl::StrCat("is too large: it becomes more than ", kMaxExpressions, " parts"));
    }
    if (!error_.ok()) return error_;
    return grammar_.take();
  }

 private:
  struct Unfilled {
    const json::value* schema;
    std::string path;
    uint32_t rule;
  };
  // One property of an object, or what others may be.
  struct Member {
    Expression whole;  // key, colon and value
    bool is_required = false;
  };

  uint32_t rule_of(const json::value& schema, const std::string& path) {
    const auto [entry, is_new] = rules_.try_emplace(&schema, 0);
    if (is_new) {
      entry->second = grammar_.add_rule(absl::StrCat("the schema at \"", path, "\""));
      unfilled_.push_back({.schema = &schema, .path = path, .rule = entry->second});
    }
    return entry->second;
  }

  void fail(const absl::Status& error) {
    if (error_.ok()) error_ = error;
  }

  Expression expression(const json::value& schema, const std::string& path) {
    if (schema.is_bool()) return schema.get_bool() ? grammar_.any_value() : choice({});
    if (!schema.is_object()) {
      fail(schema_error(path, "a schema must be an object, true or false"));
      return {};
    }
    SchemaKeywords keywords(schema.get_object(), path);
    Expression result = expression(keywords);
    fail(keywords.error());
    if (const auto unread = keywords.unread()) {
      fail(schema_error(keywords.path(*unread),
                        "is not supported, or not together with the schema's other keywords"));
    }
    return result;
  }

  Expression expression(SchemaKeywords& keywords) {
    if (keywords.has("$ref")) return reference(keywords);
    if (keywords.has_any({"const", "enum"})) return constants(keywords);
    for (const std::string_view name : {"anyOf", "oneOf", "allOf"}) {
      if (keywords.has(name)) return alternatives(keywords, name);
    }
    return typed(keywords);
  }

  Expression reference(SchemaKeywords& keywords) {
    const std::optional<std::string_view> target = keywords.string("$ref");
    if (!target) return {};
    const json::value* const schema = find_reference(root_, *target);
    if (schema != nullptr) return call(rule_of(*schema, std::string(target->substr(1))));
    keywords.fail("$ref", "must be \"#\" or point into this schema, as \"#/$defs/name\" does");
    return {};
  }

  Expression constants(SchemaKeywords& keywords) {
    std::vector<const json::value*> values;
    if (const json::value* value = keywords.any("const")) values.push_back(value);
    if (const json::array* list = keywords.array("enum")) {
      if (!values.empty()) keywords.fail("enum", "is not supported together with const");
      for (const json::value& value : *list) values.push_back(&value);
    }
    const std::vector<std::string> types = read_types(keywords);
    std::vector<Expression> forms;
    for (const json::value* value : values) {
      const bool fits =
          types.empty() || std::any_of(types.begin(), types.end(),
                                       [&](const std::string& type) { return has_type(*value, type); });
      if (fits) forms.push_back(constant(*value, grammar_.space()));
    }
    return choice(std::move(forms));
  }

  Expression alternatives(SchemaKeywords& keywords, std::string_view name) {
    const json::array* const schemas = keywords.array(name);
    if (schemas == nullptr) return {};
    const size_t limit = name == "allOf" ? 1 : kMaxAlternatives;
    if (schemas->empty() || schemas->size() > limit) {
      keywords.fail(name, absl::StrCat("must have 1 to ", limit, " schemas; has ", schemas->size()));
      return {};
    }
    if (name == "oneOf") {
      if (const auto overlap = find_overlap(root_, *schemas)) {
        keywords.fail(name,
                      absl::StrCat("schemas ", overlap->first, " and ", overlap->second,
                                   " do not exclude each other by their type, const or enum, or those of a "
                                   "property that both require; anyOf needs no such proof"));
      }
    }
    std::vector<Expression> forms;
    for (size_t i = 0; i < schemas->size(); ++i) {
      forms.push_back(call(rule_of((*schemas)[i], absl::StrCat(keywords.path(name), "/", i))));
    }
    return choice(std::move(forms));
  }

  // Empty when there is no type.
  std::vector<std::string> read_types(SchemaKeywords& keywords) {
    std::vector<std::string> types;
    const json::value* const value = keywords.any("type");
    if (value == nullptr) return types;
    const auto add = [&](const json::value& name) {
      if (!name.is_string() || !is_type_name(view(name.get_string()))) {
        keywords.fail("type",
                      "must be one or more of string, number, integer, boolean, object, array and null");
      } else {
        types.emplace_back(view(name.get_string()));
      }
    };
    if (const json::array* list = value->if_array()) {
      for (const json::value& name : *list) add(name);
      if (list->empty()) keywords.fail("type", "must not be empty");
    } else {
      add(*value);
    }
    return types;
  }

  Expression typed(SchemaKeywords& keywords) {
    std::vector<std::string> types = read_types(keywords);
    if (types.empty()) types = types_meant(keywords);
    if (types.empty()) return grammar_.any_value();
    std::vector<Expression> forms;
    for (const std::string& type : types) forms.push_back(of_type(type, keywords));
    return choice(std::move(forms));
  }

  // A schema with keywords of one type means that type, though it says nothing about others.
  static std::vector<std::string> types_meant(const SchemaKeywords& keywords) {
    std::vector<std::string> types;
    if (keywords.has_any({"properties", "required", "additionalProperties"})) types.emplace_back("object");
    if (keywords.has_any({"items", "prefixItems", "minItems", "maxItems"})) types.emplace_back("array");
    if (keywords.has_any({"minLength", "maxLength", "pattern", "format"})) types.emplace_back("string");
    if (keywords.has_any({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}))
      types.emplace_back("number");
    return types;
  }

  Expression of_type(const std::string& type, SchemaKeywords& keywords) {
    if (type == "object") return object(keywords);
    if (type == "array") return array(keywords);
    if (type == "string") return string(keywords);
    if (type == "integer" || type == "number") return number(type, keywords);
    return type == "null" ? text("null") : choice({text("true"), text("false")});
  }

  Expression string(SchemaKeywords& keywords) {
    const std::optional<std::string_view> pattern = keywords.string("pattern");
    const std::optional<std::string_view> format = keywords.string("format");
    const std::optional<uint32_t> min = keywords.count("minLength");
    const std::optional<uint32_t> max = keywords.count("maxLength");
    const int num_kinds = (pattern ? 1 : 0) + (format ? 1 : 0) + (min || max ? 1 : 0);
    if (num_kinds == 0) return grammar_.any_string();
    if (num_kinds > 1) {
      keywords.fail(pattern ? "pattern" : "format",
                    "is not supported together with pattern, format, minLength or maxLength");
      return {};
    }
    if (min || max) return string_of_length(min.value_or(0), max, keywords);
    if (format) return string_of_format(*format, keywords);
    auto inside = parse_regex(*pattern, RegexMatch::kAnywhere);
    if (!inside.ok()) {
      keywords.fail("pattern", text_of(inside.status()));
      return {};
    }
    return sequence({text("\""), in_json_string(*std::move(inside)), text("\"")});
  }

  // One rule for all strings of the format.
  Expression string_of_format(std::string_view format, SchemaKeywords& keywords) {
    const std::optional<std::string> regex = regex_of_format(format);
    if (!regex) {
      keywords.fail("format", absl::StrCat("must be one of ", absl_view(kSupportedFormats)));
      return {};
    }
    const auto [entry, is_new] = format_rules_.try_emplace(std::string(format), 0);
    if (is_new) {
      entry->second = grammar_.add_rule(absl::StrCat("format ", absl_view(format)));
      Expression inside = in_json_string(parse_regex(*regex, RegexMatch::kWhole).value());
      grammar_.set_body(entry->second, sequence({text("\""), std::move(inside), text("\"")}));
    }
    return call(entry->second);
  }

  Expression string_of_length(uint32_t min, std::optional<uint32_t> max, SchemaKeywords& keywords) {
    if (max && min > *max) keywords.fail("minLength", "is above maxLength");
    if (max == 0U) return text("\"\"");
    return sequence(
        {text("\""), repeat(string_character(), min, max.value_or(Expression::kNoLimit)), text("\"")});
  }

  // The tighter of an inclusive and an exclusive bound.
  std::optional<DecimalBound> bound(SchemaKeywords& keywords, std::string_view inclusive,
                                    std::string_view exclusive) {
    std::optional<DecimalBound> result;
    for (const std::string_view name : {inclusive, exclusive}) {
      const json::value* const value = keywords.any(name);
      if (value == nullptr) continue;
      if (result) {
        keywords.fail(name, absl::StrCat("is not supported together with ", absl_view(inclusive)));
        return std::nullopt;
      }
      result = decimal_bound(*value);
      if (!result) {
        keywords.fail(name, absl::StrCat("must be a number of at most ", kMaxWholeDigits,
                                         " digits before and ", kMaxFractionDigits, " after the point"));
        return std::nullopt;
      }
      result->is_excluded = name == exclusive;
    }
    return result;
  }

  Expression number(const std::string& type, SchemaKeywords& keywords) {
    const std::optional<DecimalBound> low = bound(keywords, "minimum", "exclusiveMinimum");
    const std::optional<DecimalBound> high = bound(keywords, "maximum", "exclusiveMaximum");
    if (type == "integer") return low || high ? whole_number_range(low, high) : any_whole_number();
    return low || high ? number_range(low, high) : grammar_.any_number();
  }

  Expression array(SchemaKeywords& keywords) {
    const uint32_t min = keywords.count("minItems").value_or(0);
    const std::optional<uint32_t> max = keywords.count("maxItems");
    if (max && min > *max) keywords.fail("minItems", "is above maxItems");
    if (keywords.boolean("uniqueItems").value_or(false)) keywords.fail("uniqueItems", "is not supported");
    Expression element = grammar_.any_value();
    const json::value* const items = keywords.any("items");
    if (items != nullptr) element = call(rule_of(*items, keywords.path("items")));
    std::vector<Expression> prefix;
    if (const json::array* schemas = keywords.array("prefixItems")) {
      if (schemas->size() > kMaxPrefixItems) {
        keywords.fail("prefixItems", absl::StrCat("must have at most ", kMaxPrefixItems, " entries"));
        return {};
      }
      for (const json::value& schema : *schemas) {
        const std::string path = absl::StrCat(keywords.path("prefixItems"), "/", prefix.size());
        prefix.push_back(call(rule_of(schema, path)));
      }
    }
    const auto num_elements = [&](uint32_t n) {
      return n - std::min<uint32_t>(n, static_cast<uint32_t>(prefix.size()));
    };
    if (max) prefix.resize(std::min<size_t>(prefix.size(), *max));
    const std::optional<uint32_t> more = max ? std::optional(num_elements(*max)) : std::nullopt;
    return sequence(
        {text("["), grammar_.space(), elements(prefix, element, min, more), grammar_.space(), text("]")});
  }

  // prefix, then up to `more` others, or any number of them; at least `min` together.
  Expression elements(const std::vector<Expression>& prefix, const Expression& element, uint32_t min,
                      std::optional<uint32_t> more) {
    const auto num_prefix = static_cast<uint32_t>(prefix.size());
    const auto after_comma = [&](const Expression& next) {
      return sequence({text(","), grammar_.space(), next});
    };
    if (prefix.empty()) {
      if (more == 0U) return {};
      const std::optional<uint32_t> after_first = more ? std::optional(*more - 1) : std::nullopt;
      return elements({element}, element, min, after_first);
    }
    Expression rest;
    if (more != 0U) {
      rest =
          repeat(after_comma(element), min - std::min(min, num_prefix), more.value_or(Expression::kNoLimit));
    }
    for (uint32_t i = num_prefix - 1; i > 0; --i) {
      rest = sequence({after_comma(prefix[i]), std::move(rest)});
      if (i >= min) rest = optional(std::move(rest));
    }
    Expression all = sequence({prefix[0], std::move(rest)});
    return min == 0 ? optional(std::move(all)) : all;
  }

  Expression object(SchemaKeywords& keywords) {
    const json::object* const properties = keywords.object("properties");
    std::vector<std::string> required;
    if (const json::array* names = keywords.array("required")) {
      for (const json::value& name : *names) {
        if (!name.is_string()) keywords.fail("required", "must hold strings");
        if (name.is_string()) required.emplace_back(view(name.get_string()));
      }
    }
    const json::value* const others = keywords.any("additionalProperties");
    if (properties == nullptr && required.empty() && others == nullptr) return grammar_.any_object();
    if ((properties != nullptr ? properties->size() : 0) + required.size() > 2 * kMaxProperties) {
      keywords.fail("properties", absl::StrCat("must have at most ", kMaxProperties, " entries"));
      return {};
    }
    std::vector<std::string> names;
    std::vector<Member> members;
    const auto add = [&](std::string_view name, Expression value) {
      const bool is_required = std::find(required.begin(), required.end(), name) != required.end();
      names.emplace_back(name);
      const uint32_t rule = grammar_.add_rule("a property");
      grammar_.set_body(rule, grammar_.member(text(json_string(name)), std::move(value)));
      members.push_back({.whole = call(rule), .is_required = is_required});
    };
    if (properties != nullptr) {
      for (const auto& property : *properties) {
        const std::string path =
            absl::StrCat(keywords.path("properties"), "/", absl_view(view(property.key())));
        add(view(property.key()), call(rule_of(property.value(), path)));
      }
    }
    const Expression other_value = others != nullptr
                                       ? call(rule_of(*others, keywords.path("additionalProperties")))
                                       : grammar_.any_value();
    for (const std::string& name : required) {
      if (std::find(names.begin(), names.end(), name) == names.end()) add(name, other_value);
    }
    if (members.size() > kMaxProperties) {
      keywords.fail("properties", absl::StrCat("must have at most ", kMaxProperties, " entries"));
    }
    std::optional<Expression> other;
    if (others != nullptr && *others != json::value(false)) {
      other = grammar_.member(grammar_.key_except(names), other_value);
    }
    return sequence(
        {text("{"), grammar_.space(), call(members_from_first(members, other)), grammar_.space(), text("}")});
  }

  // The members in their order, each of them unless it is required or not, then the others. Two rules for
  // each place: where a member stands before, so that a comma comes first, and where none does.
  uint32_t members_from_first(const std::vector<Member>& members, const std::optional<Expression>& other) {
    const auto after_comma = [&](const Expression& member) {
      return sequence({text(","), grammar_.space(), member});
    };
    uint32_t next_after = grammar_.add_rule("properties");
    uint32_t next_first = grammar_.add_rule("properties");
    if (other) {
      grammar_.set_body(next_after, repeat(after_comma(*other), 0, Expression::kNoLimit));
      grammar_.set_body(next_first, optional(sequence({*other, call(next_after)})));
    }
    for (auto member = members.rbegin(); member != members.rend(); ++member) {
      const uint32_t after = grammar_.add_rule("properties");
      const uint32_t first = grammar_.add_rule("properties");
      Expression with_comma = after_comma(member->whole);
      if (!member->is_required) with_comma = optional(std::move(with_comma));
      grammar_.set_body(after, sequence({std::move(with_comma), call(next_after)}));
      Expression from_here = sequence({member->whole, call(next_after)});
      if (!member->is_required) from_here = choice({std::move(from_here), call(next_first)});
      grammar_.set_body(first, std::move(from_here));
      next_after = after;
      next_first = first;
    }
    return next_first;
  }

  const json::value& root_;
  JsonGrammar grammar_;
  std::unordered_map<const json::value*, uint32_t> rules_;
  std::vector<Unfilled> unfilled_;
  std::map<std::string, uint32_t> format_rules_;
  absl::Status error_;
};

}  // namespace

absl::StatusOr<Grammar> json_schema_grammar(std::string_view schema) {
  json::parse_options options;
  options.max_depth = kMaxSchemaDepth;
  json::error_code error;
  const json::value root = json::parse({schema.data(), schema.size()}, error, {}, options);
  if (error) return absl::InvalidArgumentError(absl::StrCat("is not a JSON text: ", error.message()));
  if (!all_finite(root)) return absl::InvalidArgumentError("holds a number that is out of range");
  return SchemaCompiler(root).run();
}

}  // namespace octet::router
