#include "router/api/openai_request.h"

#include <boost/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/api/json_fields.h"
#include "router/api/openai_messages.h"
#include "router/api/structured_output_fields.h"
#include "router/request/validated_request.h"

namespace octet::router {
namespace {

namespace json = boost::json;

constexpr size_t kMaxMetadata = 16;
constexpr size_t kMaxMetadataKeyBytes = 64;
constexpr size_t kMaxMetadataValueBytes = 512;

std::string_view view(json::string_view text) {
  return {text.data(), text.size()};
}

std::string element_name(const char* name, size_t index) {
  return absl::StrCat(name, "[", index, "]");
}

// A negative one counts from 2^64 downwards: as many seeds as there are 64-bit numbers.
std::optional<uint64_t> read_seed(JsonFields& fields) {
  const json::value* value = fields.any("seed");
  if (value != nullptr && value->is_int64()) return static_cast<uint64_t>(value->get_int64());
  return fields.unsigned_integer("seed");
}

// What both kinds of requests have.
void read_common(JsonFields& fields, RequestDraft& draft, StreamOptions& stream) {
  draft.model = fields.string("model").value_or("");
  draft.temperature = fields.number("temperature");
  draft.top_p = fields.number("top_p");
  draft.presence_penalty = fields.number("presence_penalty");
  draft.frequency_penalty = fields.number("frequency_penalty");
  draft.logit_bias = fields.numbers_by_integer("logit_bias");
  draft.seed = read_seed(fields);
  draft.n = fields.integer("n");
  draft.stop = fields.string_or_strings("stop");
  draft.session = fields.string("user").value_or("");

  draft.top_k = fields.integer("top_k");
  draft.min_p = fields.number("min_p");
  draft.repetition_penalty = fields.number("repetition_penalty");
  draft.min_tokens = fields.integer("min_tokens");
  draft.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  draft.include_stop = fields.boolean("include_stop_str_in_output").value_or(false);
  draft.stop_token_ids = fields.integers("stop_token_ids");
  draft.structured_output = read_structured_output(fields);
  draft.bad_words = fields.strings("bad_words");
  draft.timeout_seconds = fields.number("timeout");
  draft.priority = fields.integer("priority");
  draft.request_id = fields.string("request_id").value_or("");

  stream.stream = fields.boolean("stream").value_or(false);
  if (const json::object* options = fields.object("stream_options")) {
    JsonFields option_fields(*options, "stream_options");
    stream.include_usage = option_fields.boolean("include_usage").value_or(false);
    option_fields.refuse_unless("include_obfuscation", false);
    fields.fail(option_fields.finish());
    if (!stream.stream) fields.fail("stream_options", "is only allowed with stream");
  }
}

Prompt token_prompt(JsonFields& fields, const std::string& name, const json::array& elements) {
  std::vector<int64_t> ids;
  ids.reserve(elements.size());
  for (const json::value& element : elements) {
    const int64_t* id = element.if_int64();
    if (id == nullptr) {
      fields.fail(absl::StrCat(name, "[", ids.size(), "]"),
                  absl::StrCat("must be a token id, got ", absl_view(json_type_name(element))));
      return {};
    }
    ids.push_back(*id);
  }
  return ids;
}

// A text, a list of texts, a list of token ids, or a list of such lists.
std::vector<Prompt> read_prompts(JsonFields& fields) {
  const json::value* value = fields.any("prompt");
  if (value == nullptr) {
    fields.fail("prompt", "is required");
    return {};
  }
  if (const json::string* text = value->if_string()) return {Prompt(std::string(view(*text)))};
  const json::array* elements = value->if_array();
  if (elements == nullptr) {
    fields.fail("prompt",
                absl::StrCat("must be a string, an array of strings, an array of token ids or an array of "
                             "arrays of token ids, got ",
                             absl_view(json_type_name(*value))));
    return {};
  }
  if (elements->empty()) {
    fields.fail("prompt", "must not be empty");
    return {};
  }
  if (elements->front().is_number()) return {token_prompt(fields, "prompt", *elements)};
  std::vector<Prompt> prompts;
  for (const json::value& element : *elements) {
    const std::string name = element_name("prompt", prompts.size());
    if (element.kind() != elements->front().kind() || !(element.is_string() || element.is_array())) {
      fields.fail(
          name, absl::StrCat("must be ", elements->front().is_array() ? "an array of token ids" : "a string",
                             ", got ", absl_view(json_type_name(element))));
      return {};
    }
    if (const json::string* text = element.if_string()) {
      prompts.emplace_back(std::string(view(*text)));
    } else {
      prompts.push_back(token_prompt(fields, name, element.get_array()));
    }
  }
  return prompts;
}

void read_chat_logprobs(JsonFields& fields, RequestDraft& draft) {
  const bool wants_logprobs = fields.boolean("logprobs").value_or(false);
  const std::optional<int64_t> num_top = fields.integer("top_logprobs");
  if (num_top && !wants_logprobs) fields.fail("top_logprobs", "is only allowed with logprobs = true");
  if (num_top && (*num_top < 0 || *num_top > 20)) {
    fields.fail("top_logprobs", absl::StrCat("must be in the range 0 to 20, got ", *num_top));
  }
  if (wants_logprobs) draft.logprobs = num_top.value_or(0);
}

void read_chat_max_tokens(JsonFields& fields, RequestDraft& draft) {
  const std::optional<int64_t> old_name = fields.integer("max_tokens");
  const std::optional<int64_t> new_name = fields.integer("max_completion_tokens");
  if (old_name && new_name && *old_name != *new_name) {
    fields.fail("max_completion_tokens", absl::StrCat("is ", *new_name, " and max_tokens is ", *old_name,
                                                      "; they are two names of one limit"));
  }
  draft.max_tokens = new_name ? new_name : old_name;
}

void refuse_unsupported_chat_fields(JsonFields& fields) {
  for (const char* name : {"functions", "audio", "prediction", "web_search_options", "prompt_cache_options",
                           "prompt_cache_retention", "moderation"}) {
    fields.refuse(name);
  }
  fields.refuse_unless("function_call", "none");
  fields.refuse_unless("modalities", json::array{"text"});
  fields.refuse_unless("store", false);
  fields.refuse_unless("reasoning_effort", "none");
  fields.refuse_unless("verbosity", "medium");
}

// The newer name of what "user" was for: it comes before it as the session's name.
void read_prompt_cache_key(JsonFields& fields, RequestDraft& draft) {
  std::optional<std::string> key = fields.string("prompt_cache_key");
  if (!key || key->empty()) return;
  const size_t max_bytes = RequestLimits().max_session_bytes;
  if (key->size() > max_bytes) {
    fields.fail("prompt_cache_key",
                absl::StrCat("must have at most ", max_bytes, " bytes; has ", key->size()));
  }
  draft.session = *std::move(key);
}

// What only labels a request, by OpenAI's limits; it has no effect.
void read_labels(JsonFields& fields) {
  fields.string("safety_identifier");
  const std::optional<std::string> tier = fields.string("service_tier");
  if (tier && *tier != "auto" && *tier != "default") {
    fields.fail("service_tier", "must be \"auto\" or \"default\"; there are no other tiers");
  }
  const json::object* metadata = fields.object("metadata");
  if (metadata == nullptr) return;
  if (metadata->size() > kMaxMetadata) {
    fields.fail("metadata",
                absl::StrCat("must have at most ", kMaxMetadata, " entries; has ", metadata->size()));
  }
  for (const auto& [key, value] : *metadata) {
    const bool fits = key.size() <= kMaxMetadataKeyBytes && value.is_string() &&
                      value.get_string().size() <= kMaxMetadataValueBytes;
    if (fits) continue;
    return fields.fail(
        "metadata", absl::StrCat("keys of at most ", kMaxMetadataKeyBytes,
                                 " bytes must have strings of at most ", kMaxMetadataValueBytes, " bytes"));
  }
}

// Of several choices the best are returned.
void read_best_of(JsonFields& fields, CompletionRequest& request) {
  request.logprobs = request.draft.logprobs;
  const std::optional<int64_t> best_of = fields.integer("best_of");
  const int64_t n = request.draft.n.value_or(1);
  if (!best_of || *best_of == n) return;
  if (*best_of < n) {
    return fields.fail("best_of", absl::StrCat("must be at least n, which is ", n, ", got ", *best_of));
  }
  if (request.stream.stream)
    return fields.fail("best_of", "must be n in a stream, which cannot take back a choice");
  if (n < 1) return;  // refused later, by its own name
  request.num_returned = n;
  request.draft.n = best_of;
  request.draft.logprobs = request.logprobs.value_or(0);
}

}  // namespace

absl::StatusOr<CompletionRequest> parse_completion_request(const json::object& body) {
  JsonFields fields(body);
  CompletionRequest request;
  RequestDraft& draft = request.draft;
  read_common(fields, draft, request.stream);
  request.prompts = read_prompts(fields);
  draft.max_tokens = fields.integer("max_tokens");
  draft.logprobs = fields.integer("logprobs");
  request.echo = fields.boolean("echo").value_or(false);
  request.prompt_logprobs = fields.integer("prompt_logprobs");
  draft.prompt_logprobs = request.prompt_logprobs;
  read_best_of(fields, request);
  if (request.echo && request.logprobs) {
    draft.prompt_logprobs = std::max(*request.logprobs, request.prompt_logprobs.value_or(0));
  }
  fields.refuse("suffix");
  const absl::Status status = fields.finish();
  if (!status.ok()) return status;
  return request;
}

absl::StatusOr<ChatRequest> parse_chat_request(const json::object& body) {
  JsonFields fields(body);
  ChatRequest request;
  read_common(fields, request.draft, request.stream);
  ToolChat chat = read_chat(fields);
  request.draft.prompt = std::move(chat.chat);
  request.tools = std::move(chat.tools);
  if (request.tools.any() && request.draft.structured_output) {
    fields.fail("tools", "are not allowed beside a structured output, which leaves no room for calls");
  }
  if (request.tools.constraint) request.draft.structured_output = request.tools.constraint;
  read_chat_max_tokens(fields, request.draft);
  read_chat_logprobs(fields, request.draft);
  request.draft.prompt_logprobs = fields.integer("prompt_logprobs");
  if (request.draft.prompt_logprobs && request.stream.stream) {
    fields.fail("prompt_logprobs", "is only allowed without stream");
  }
  read_prompt_cache_key(fields, request.draft);
  read_labels(fields);
  refuse_unsupported_chat_fields(fields);
  const absl::Status status = fields.finish();
  if (!status.ok()) return status;
  return request;
}

const FieldNames& openai_field_names() {
  static const FieldNames names = {{"timeout_seconds", "timeout"}, {"session", "user"}};
  return names;
}

}  // namespace octet::router
