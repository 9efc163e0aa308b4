// The bodies of OpenAI's completions and chat completions as drafts. What Octet does not offer is refused by
// name; "user" or "prompt_cache_key" names the session, "metadata" and "safety_identifier" only label a
// request. Extensions beside OpenAI's fields: top_k, min_p, repetition_penalty, min_tokens, ignore_eos,
// stop_token_ids, bad_words, include_stop_str_in_output, prompt_logprobs, timeout (seconds), priority,
// request_id, and those of structured_output_fields.h.
#pragma once

#include <boost/json/fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "router/api/openai_tools.h"
#include "router/api/renamed_field.h"
#include "router/request/request_draft.h"

namespace octet::router {

struct StreamOptions {
  bool stream = false;
  bool include_usage = false;
};

struct CompletionRequest {
  RequestDraft draft;           // but for its prompt
  std::vector<Prompt> prompts;  // at least one
  bool echo = false;
  std::optional<int64_t> logprobs;         // as asked for; best_of needs them in the draft as well
  std::optional<int64_t> num_returned;     // the best of draft.n choices; absent: all
  std::optional<int64_t> prompt_logprobs;  // as asked for; echo with logprobs needs them in the draft as well
  StreamOptions stream;
};

struct ChatRequest {
  RequestDraft draft;
  ToolUse tools;
  StreamOptions stream;
};

// Errors: INVALID_ARGUMENT naming the field; ranges are left to validate().
absl::StatusOr<CompletionRequest> parse_completion_request(const boost::json::object& body);
absl::StatusOr<ChatRequest> parse_chat_request(const boost::json::object& body);

// What validate()'s fields are called in these requests.
const FieldNames& openai_field_names();

}  // namespace octet::router
