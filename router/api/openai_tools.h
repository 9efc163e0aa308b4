// The tools of a chat: what a request says of them, and how calls stand in answers. Nemotron-Mini's format.
#pragma once

#include <boost/json/fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "router/api/json_fields.h"
#include "router/api/tool_call_parser.h"
#include "router/grammar/structured_output.h"

namespace octet::router {

struct ToolUse {
  std::vector<std::string> definitions;  // JSON texts for the prompt; empty: the model is told of no tools
  bool at_most_one = false;
  // When a call must be made: it is already begun, and all that follows is held to its schema.
  std::string answer_prefix;
  std::optional<StructuredOutput> constraint;

  // Whether calls are looked for in the output.
  bool any() const { return !definitions.empty(); }
};

// "tools", "tool_choice" and "parallel_tool_calls"; errors stay in fields.
ToolUse read_tools(JsonFields& fields);

// A message's "tool_calls", each as the text that the model wrote; their ids are added to ids.
std::vector<std::string> read_tool_calls(JsonFields& message, const std::string& path,
                                         std::vector<std::string>& ids);

// {"id", "type", "function": {"name", "arguments"}} with a new id.
boost::json::object tool_call_object(ToolCall call);

}  // namespace octet::router
