// A chat as OpenAI's API writes it.
#pragma once

#include "router/api/json_fields.h"
#include "router/api/openai_tools.h"
#include "router/request/request_draft.h"

namespace octet::router {

struct ToolChat {
  Chat chat;
  ToolUse tools;
};

// The fields "messages", "add_generation_prompt", "continue_final_message" and those of read_tools(); errors
// stay in fields.
ToolChat read_chat(JsonFields& fields);

}  // namespace octet::router
