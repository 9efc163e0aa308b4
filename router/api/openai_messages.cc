#include "router/api/openai_messages.h"

#include <boost/json.hpp>
#include <optional>
#include <string>

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

ChatMessage read_message(JsonFields& request, const json::value& value, size_t index) {
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
  message.content = read_content(fields, name);
  // A client that sends an answer back sends these as well, empty.
  for (const char* unsupported :
       {"name", "refusal", "tool_calls", "tool_call_id", "function_call", "audio"}) {
    fields.refuse(unsupported);
  }
  fields.refuse_unless("annotations", json::array());
  request.fail(fields.finish());
  return message;
}

}  // namespace

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
  for (const json::value& element : *elements) {
    messages.push_back(read_message(fields, element, messages.size()));
    if (!fields.ok()) return {};
  }
  return messages;
}

}  // namespace octet::router
