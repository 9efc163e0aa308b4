#include "router/api/openai_messages.h"

#include <algorithm>
#include <boost/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::router {
namespace {

namespace json = boost::json;

std::string_view view(json::string_view text) {
  return {text.data(), text.size()};
}

// "text" or [{"type": "text", "text": "..."}, ...], whose texts are joined.
std::string read_content(JsonFields& message, const std::string& name) {
  const json::value* value = message.any("content");
  if (value == nullptr) {
    message.fail("content", "is required");
    return "";
  }
  if (const json::string* text = value->if_string()) return std::string(view(*text));
  const json::array* parts = value->if_array();
  if (parts == nullptr) {
    message.fail("content", absl::StrCat("must be a string or an array of text parts, got ",
                                         absl_view(json_type_name(*value))));
    return "";
  }
  std::string content;
  for (size_t i = 0; i < parts->size(); ++i) {
    const std::string part_name = absl::StrCat(name, ".content[", i, "]");
    const json::object* part = (*parts)[i].if_object();
    if (part == nullptr) {
      message.fail(invalid_field(part_name, "must be an object"));
      return "";
    }
    JsonFields fields(*part, part_name);
    const std::optional<std::string> type = fields.string("type");
    if (fields.ok() && type != "text") fields.fail("type", "must be \"text\"; other parts are not supported");
    const std::optional<std::string> text = fields.string("text");
    if (!text) fields.fail("text", "is required");
    content += text.value_or("");
    message.fail(fields.finish());
  }
  return content;
}

// An answer of a tool; given a call's id, that of an earlier one.
void read_tool_call_id(JsonFields& message, const std::vector<std::string>& known_ids) {
  const std::optional<std::string> id = message.string("tool_call_id");
  if (id && std::find(known_ids.begin(), known_ids.end(), *id) == known_ids.end()) {
    message.fail("tool_call_id", "must be the id of a call in an earlier message");
  }
}

// call_ids: of the calls so far.
ChatMessage read_message(JsonFields& request, const json::value& value, size_t index,
                         std::vector<std::string>& call_ids) {
  const std::string name = absl::StrCat("messages[", index, "]");
  const json::object* object = value.if_object();
  if (object == nullptr) {
    request.fail(name, absl::StrCat("must be an object, got ", absl_view(json_type_name(value))));
    return {};
  }
  JsonFields fields(*object, name);
  ChatMessage message;
  const std::optional<std::string> role = fields.string("role");
  if (!role) fields.fail("role", "is required");
  // OpenAI's newer name of the same thing.
  message.role = role == "developer" ? "system" : role.value_or("");
  if (role == "assistant") message.tool_calls = read_tool_calls(fields, name, call_ids);
  if (role == "tool") read_tool_call_id(fields, call_ids);
  // Calls may stand alone.
  if (message.tool_calls.empty() || fields.any("content") != nullptr)
    message.content = read_content(fields, name);
  // A client that sends an answer back sends these as well, empty.
  for (const char* unsupported :
       {"name", "refusal", "tool_calls", "tool_call_id", "function_call", "audio"}) {
    const bool is_read = (role == "assistant" && unsupported == std::string_view("tool_calls")) ||
                         (role == "tool" && unsupported == std::string_view("tool_call_id"));
    if (!is_read) fields.refuse(unsupported);
  }
  fields.refuse_unless("annotations", json::array());
  request.fail(fields.finish());
  return message;
}

std::vector<ChatMessage> read_messages(JsonFields& fields) {
  const json::value* value = fields.any("messages");
  if (value == nullptr) {
    fields.fail("messages", "is required");
    return {};
  }
  const json::array* elements = value->if_array();
  if (elements == nullptr) {
    fields.fail("messages", absl::StrCat("must be an array, got ", absl_view(json_type_name(*value))));
    return {};
  }
  std::vector<ChatMessage> messages;
  std::vector<std::string> call_ids;
  for (const json::value& element : *elements) {
    messages.push_back(read_message(fields, element, messages.size(), call_ids));
    if (!fields.ok()) return {};
  }
  return messages;
}

// vLLM's two fields for how a prompt ends.
ChatOptions::End read_end(JsonFields& fields) {
  const std::optional<bool> opens = fields.boolean("add_generation_prompt");
  const bool continues = fields.boolean("continue_final_message").value_or(false);
  if (continues && opens == true) {
    fields.fail("continue_final_message", "is not allowed beside add_generation_prompt");
  }
  if (continues) return ChatOptions::End::kContinues;
  return opens == false ? ChatOptions::End::kClosed : ChatOptions::End::kOpensTurn;
}

}  // namespace

ToolChat read_chat(JsonFields& fields) {
  std::vector<ChatMessage> messages = read_messages(fields);
  ToolUse tools = read_tools(fields);
  ChatOptions options{
      .tools = tools.definitions, .end = read_end(fields), .answer_prefix = tools.answer_prefix};
  if (!options.answer_prefix.empty() && options.end != ChatOptions::End::kOpensTurn) {
    fields.fail("tool_choice", "cannot ask for a call where no new assistant turn begins");
  }
  return {.chat = Chat(std::move(messages), std::move(options)), .tools = std::move(tools)};
}

}  // namespace octet::router
