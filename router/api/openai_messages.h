// The messages of a chat as OpenAI's API writes them.
#pragma once

#include <vector>

#include "router/api/json_fields.h"
#include "router/tokenizer/chat_template.h"

namespace octet::router {

// The field "messages"; errors stay in fields.
std::vector<ChatMessage> read_messages(JsonFields& fields);

}  // namespace octet::router
