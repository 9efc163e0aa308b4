#include "router/api/openai_tools.h"

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/api/json_text.h"
#include "router/request/request_id.h"

namespace octet::router {
namespace {

namespace json = boost::json;

// OpenAI's limits.
constexpr size_t kMaxTools = 128;
constexpr size_t kMaxNameBytes = 64;

struct ToolChoice {
  enum class Kind { kNone, kAuto, kRequired, kNamed };
  Kind kind = Kind::kAuto;
  std::string name;  // kNamed
};

bool is_function_name(std::string_view name) {
  const auto known = [](unsigned char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-'; };
  return !name.empty() && name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), known);
}

std::string read_name(JsonFields& function) {
  const std::string name = function.string("name").value_or("");
  if (!is_function_name(name)) {
    function.fail("name",
                  absl::StrCat("must be given, with 1 to ", kMaxNameBytes, " characters of [A-Za-z0-9_-]"));
  }
  return name;
}

// {"type": "function", KEY: {...}} as its inner object; null after an error.
const json::object* function_of(JsonFields& fields) {
  const std::optional<std::string> type = fields.string("type");
  if (fields.ok() && type != "function") fields.fail("type", "must be \"function\"; there are no others");
  const json::object* function = fields.object("function");
  if (function == nullptr) fields.fail("function", "is required");
  return function;
}

struct Tool {
  std::string name;
  json::object call_schema;  // of {"name", "arguments"}
};

// What a call of a function has to be.
json::object call_schema(const std::string& name, const json::object* parameters) {
  json::object arguments = parameters != nullptr ? *parameters : json::object();
  arguments.emplace("type", "object");
  return {{"type", "object"},
          {"properties", {{"name", {{"const", name}}}, {"arguments", std::move(arguments)}}},
          {"required", {"name", "arguments"}},
          {"additionalProperties", false}};
}

Tool read_tool(JsonFields& request, const json::value& value, size_t index) {
  const std::string path = absl::StrCat("tools[", index, "]");
  if (!value.is_object()) {
    request.fail(path, absl::StrCat("must be an object, got ", absl_view(json_type_name(value))));
    return {};
  }
  JsonFields fields(value.get_object(), path);
  Tool tool;
  if (const json::object* object = function_of(fields)) {
    JsonFields function(*object, path + ".function");
    tool.name = read_name(function);
    function.string("description");
    tool.call_schema = call_schema(tool.name, function.object("parameters"));
    function.refuse_unless("strict", false);  // only a call that must be made is held to its schema
    fields.fail(function.finish());
  }
  request.fail(fields.finish());
  return tool;
}

std::vector<Tool> read_all_tools(JsonFields& fields, std::vector<std::string>& definitions) {
  std::vector<Tool> tools;
  const json::value* value = fields.any("tools");
  if (value == nullptr) return tools;
  const json::array* elements = value->if_array();
  if (elements == nullptr) {
    fields.fail("tools", absl::StrCat("must be an array, got ", absl_view(json_type_name(*value))));
    return tools;
  }
  if (elements->size() > kMaxTools) {
    fields.fail("tools", absl::StrCat("must have at most ", kMaxTools, " entries; has ", elements->size()));
    return tools;
  }
  for (const json::value& element : *elements) {
    tools.push_back(read_tool(fields, element, tools.size()));
    definitions.push_back(json_text(element, JsonStyle::kSpaced));
  }
  return tools;
}

// A call of this tool, or of any when name is empty.
StructuredOutput call_constraint(const std::vector<Tool>& tools, const std::string& name) {
  json::array schemas;
  for (const Tool& tool : tools) {
    if (name.empty() || tool.name == name) schemas.push_back(tool.call_schema);
  }
  const json::value schema =
      schemas.size() == 1 ? schemas.front() : json::object{{"anyOf", std::move(schemas)}};
  return {.kind = StructuredOutput::Kind::kJsonSchema,
          .source = json_text(schema),
          .choices = {},
          .field = "tool_choice"};
}

ToolChoice read_named_choice(JsonFields& request, const json::object& object,
                             const std::vector<Tool>& tools) {
  JsonFields fields(object, "tool_choice");
  ToolChoice choice{.kind = ToolChoice::Kind::kNamed, .name = {}};
  if (const json::object* inner = function_of(fields)) {
    JsonFields function(*inner, "tool_choice.function");
    choice.name = read_name(function);
    const bool known =
        std::any_of(tools.begin(), tools.end(), [&](const Tool& tool) { return tool.name == choice.name; });
    if (function.ok() && !known) {
      function.fail("name", "must be the name of one of the tools");
    }
    fields.fail(function.finish());
  }
  request.fail(fields.finish());
  return choice;
}

ToolChoice read_choice(JsonFields& fields, const std::vector<Tool>& tools) {
  const json::value* value = fields.any("tool_choice");
  if (value == nullptr) return {};
  if (*value == json::value("none")) return {.kind = ToolChoice::Kind::kNone, .name = {}};
  if (tools.empty()) {
    fields.fail("tool_choice", "is only allowed with tools");
    return {};
  }
  if (*value == json::value("auto")) return {};
  if (*value == json::value("required")) return {.kind = ToolChoice::Kind::kRequired, .name = {}};
  if (value->is_object()) return read_named_choice(fields, value->get_object(), tools);
  fields.fail("tool_choice", "must be \"none\", \"auto\", \"required\" or the name of a function");
  return {};
}

}  // namespace

ToolUse read_tools(JsonFields& fields) {
  ToolUse use;
  const std::vector<Tool> tools = read_all_tools(fields, use.definitions);
  const ToolChoice choice = read_choice(fields, tools);
  const std::optional<bool> parallel = fields.boolean("parallel_tool_calls");
  if (parallel && tools.empty()) fields.fail("parallel_tool_calls", "is only allowed with tools");
  use.at_most_one = parallel == false;
  if (choice.kind == ToolChoice::Kind::kNone) use.definitions.clear();
  if (choice.kind == ToolChoice::Kind::kNamed || choice.kind == ToolChoice::Kind::kRequired) {
    use.answer_prefix = absl::StrCat(absl_view(kToolCallBegin), " ");
    use.constraint = call_constraint(tools, choice.name);
  }
  return use;
}

std::vector<std::string> read_tool_calls(JsonFields& message, const std::string& path,
                                         std::vector<std::string>& ids) {
  std::vector<std::string> texts;
  const json::value* value = message.any("tool_calls");
  if (value == nullptr) return texts;
  const json::array* calls = value->if_array();
  if (calls == nullptr || calls->size() > kMaxTools) {
    message.fail("tool_calls", absl::StrCat("must be an array of at most ", kMaxTools, " calls"));
    return texts;
  }
  for (const json::value& call : *calls) {
    const std::string call_path = absl::StrCat(path, ".tool_calls[", texts.size(), "]");
    if (!call.is_object()) {
      message.fail(invalid_field(call_path, "must be an object"));
      return texts;
    }
    JsonFields fields(call.get_object(), call_path);
    ids.push_back(fields.string("id").value_or(""));
    if (const json::object* object = function_of(fields)) {
      JsonFields function(*object, call_path + ".function");
      const std::string name = read_name(function);
      const std::string arguments = function.string("arguments").value_or("");
      if (!parse_json_object(arguments).ok()) function.fail("arguments", "must be the text of a JSON object");
      texts.push_back(absl::StrCat("{\"name\": \"", name, "\", \"arguments\": ", arguments, "}"));
      fields.fail(function.finish());
    }
    message.fail(fields.finish());
    if (!message.ok()) return texts;
  }
  return texts;
}

json::object tool_call_object(ToolCall call) {
  return {{"id", absl::StrCat("call_", make_request_id())},
          {"type", "function"},
          {"function", {{"name", std::move(call.name)}, {"arguments", std::move(call.arguments)}}}};
}

}  // namespace octet::router
