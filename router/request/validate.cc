#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/utf8.h"
#include "router/request/field_checks.h"
#include "router/request/request_id.h"
#include "router/request/validate_sampling.h"
#include "router/request/validated_request.h"
#include "router/tokenizer/detokenizer.h"
#include "router/tracing/call_record.h"

namespace octet::router {
namespace {

// Tokenising costs time and memory in proportion to the text, so a text that has too many bytes for the
// context whatever its tokens are is refused before.
absl::Status check_text_size(std::string_view field, size_t num_bytes, const ValidationContext& context) {
  const uint64_t max_bytes = uint64_t{context.model.max_model_len} * context.tokenizer->max_piece_bytes();
  if (num_bytes <= max_bytes) return absl::OkStatus();
  return invalid_field(field, absl::StrCat("has ", num_bytes, " bytes; the context of ",
                                           context.model.max_model_len, " tokens holds at most ", max_bytes));
}

absl::StatusOr<std::vector<TokenId>> tokenize_text(const std::string& text,
                                                   const ValidationContext& context) {
  const absl::Status size = check_text_size("prompt", text.size(), context);
  if (!size.ok()) return size;
  if (!is_valid_utf8(text)) return invalid_field("prompt", "must be valid UTF-8");
  return context.tokenizer->encode(text);
}

absl::StatusOr<std::vector<TokenId>> take_token_ids(const std::vector<int64_t>& ids,
                                                    const ValidationContext& context) {
  const absl::Status size = check_num_entries("prompt", ids.size(), context.model.max_model_len);
  if (!size.ok()) return size;
  std::vector<TokenId> tokens;
  tokens.reserve(ids.size() + 1);
  for (size_t i = 0; i < ids.size(); ++i) {
    const absl::Status known = check_token_id("prompt", i, ids[i], context.model.vocab_size);
    if (!known.ok()) return known;
    tokens.push_back(static_cast<TokenId>(ids[i]));
  }
  return tokens;
}

absl::StatusOr<std::vector<TokenId>> tokenize_chat(const Chat& chat, const ValidationContext& context) {
  if (context.chat_template == nullptr) return invalid_field("messages", "this model has no chat template");
  const absl::Status count = check_num_entries("messages", chat.messages.size(), context.limits.max_messages);
  if (!count.ok()) return count;
  size_t num_bytes = 0;
  for (const ChatMessage& message : chat.messages) {
    num_bytes += message.content.size();
    for (const std::string& call : message.tool_calls) num_bytes += call.size();
  }
  for (const std::string& tool : chat.options.tools) num_bytes += tool.size();
  const absl::Status size = check_text_size("messages", num_bytes, context);
  if (!size.ok()) return size;
  return context.chat_template->render(chat.messages, chat.options);
}

absl::StatusOr<std::vector<TokenId>> tokenize_any(const Prompt& prompt, const ValidationContext& context) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return tokenize_text(*text, context);
  if (const auto* ids = std::get_if<std::vector<int64_t>>(&prompt)) return take_token_ids(*ids, context);
  if (const auto* chat = std::get_if<Chat>(&prompt)) return tokenize_chat(*chat, context);
  return invalid_field("prompt", "is missing; give a text, token ids or messages");
}

std::string_view prompt_field(const Prompt& prompt) {
  return std::holds_alternative<Chat>(prompt) ? "messages" : "prompt";
}

absl::Status read_lengths(const RequestDraft& draft, const ValidationContext& context,
                          ValidatedRequest& request) {
  const int64_t max_model_len = context.model.max_model_len;
  const auto num_prompt_tokens = static_cast<int64_t>(request.prompt.size());
  if (num_prompt_tokens >= max_model_len) {
    return invalid_field(
        prompt_field(draft.prompt),
        absl::StrCat("has ", num_prompt_tokens, " tokens; must have fewer than the context's ", max_model_len,
                     ", so that at least 1 can be generated"));
  }
  const int64_t num_left = max_model_len - num_prompt_tokens;
  if (draft.max_tokens && *draft.max_tokens > num_left) {
    return invalid_field("max_tokens", absl::StrCat("must be at most ", num_left, " (the context of ",
                                                    max_model_len, " tokens less the prompt's ",
                                                    num_prompt_tokens, "); is ", *draft.max_tokens));
  }
  const auto max_tokens = integer_in("max_tokens", draft.max_tokens, num_left, 1, num_left);
  if (!max_tokens.ok()) return max_tokens.status();
  request.max_tokens = static_cast<uint32_t>(*max_tokens);

  const auto min_tokens = integer_in("min_tokens", draft.min_tokens, 0, 0, max_model_len);
  if (!min_tokens.ok()) return min_tokens.status();
  if (*min_tokens > *max_tokens) {
    return invalid_field("min_tokens", absl::StrCat("must be at most max_tokens, which is ", *max_tokens,
                                                    "; is ", *min_tokens));
  }
  request.min_tokens = static_cast<uint32_t>(*min_tokens);
  return absl::OkStatus();
}

absl::Status read_stops(RequestDraft& draft, const ValidationContext& context, ValidatedRequest& request) {
  const RequestLimits& limits = context.limits;
  absl::Status count = check_num_entries("stop", draft.stop.size(), limits.max_stop_strings);
  if (!count.ok()) return count;
  for (size_t i = 0; i < draft.stop.size(); ++i) {
    absl::Status checked = check_string("stop", i, draft.stop[i], limits.max_stop_bytes);
    if (!checked.ok()) return checked;
  }
  request.stop = std::move(draft.stop);
  request.include_stop = draft.include_stop;

  count = check_num_entries("stop_token_ids", draft.stop_token_ids.size(), limits.max_stop_token_ids);
  if (!count.ok()) return count;
  std::vector<TokenId>& ids = request.stop_token_ids;
  for (size_t i = 0; i < draft.stop_token_ids.size(); ++i) {
    const int64_t id = draft.stop_token_ids[i];
    absl::Status known = check_token_id("stop_token_ids", i, id, context.model.vocab_size);
    if (!known.ok()) return known;
    ids.push_back(static_cast<TokenId>(id));
  }
  if (!draft.ignore_eos) {
    ids.push_back(context.tokenizer->eos_id());
    if (context.chat_template != nullptr) ids.push_back(context.chat_template->end_of_turn_id());
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return absl::OkStatus();
}

absl::Status read_choices(const RequestDraft& draft, const RequestLimits& limits, ValidatedRequest& request) {
  const auto n = integer_in("n", draft.n, 1, 1, limits.max_choices);
  if (!n.ok()) return n.status();
  request.num_choices = static_cast<uint32_t>(*n);

  const auto logprobs = integer_in("logprobs", draft.logprobs, 0, 0, limits.max_logprobs);
  if (!logprobs.ok()) return logprobs.status();
  if (draft.logprobs) request.logprobs = static_cast<uint32_t>(*logprobs);

  const auto prompt_logprobs =
      integer_in("prompt_logprobs", draft.prompt_logprobs, 0, 0, limits.max_logprobs);
  if (!prompt_logprobs.ok()) return prompt_logprobs.status();
  if (draft.prompt_logprobs) request.prompt_logprobs = static_cast<uint32_t>(*prompt_logprobs);
  return absl::OkStatus();
}

// Of a request whose prompt and choices are known.
absl::Status read_structured_output(const RequestDraft& draft, const ValidationContext& context,
                                    ValidatedRequest& request) {
  if (!draft.structured_output) return absl::OkStatus();
  if (draft.ignore_eos) {
    return invalid_field("ignore_eos",
                         "is not allowed with a structured output, which ends where it is whole");
  }
  OutputConstraint constraint;
  constraint.automaton = draft.automaton;
  if (constraint.automaton == nullptr) {
    absl::StatusOr<std::string> automaton = compile_structured_output(*draft.structured_output);
    if (!automaton.ok()) return automaton.status();
    constraint.automaton = std::make_shared<const std::string>(*std::move(automaton));
  }
  const uint64_t num_bytes = constraint.automaton->size() * request.num_choices;
  if (num_bytes > context.limits.max_automaton_bytes) {
    return invalid_field(
        "n", absl::StrCat(request.num_choices, " choices of a structured output with an automaton of ",
                          constraint.automaton->size(), " bytes; at most ",
                          context.limits.max_automaton_bytes, " bytes together"));
  }
  constraint.begins_text = Detokenizer::after(context.tokenizer, request.prompt).at_text_start();
  request.constraint = std::move(constraint);
  return absl::OkStatus();
}

absl::Status read_queueing(RequestDraft& draft, const RequestLimits& limits, ValidatedRequest& request) {
  const int32_t best = draft.tenant.best_priority;
  const auto priority = integer_in("priority", draft.priority, std::max(best, 0), best, kMaxPriority);
  if (!priority.ok()) return priority.status();
  if (draft.session.size() > limits.max_session_bytes) {
    return invalid_field("session", absl::StrCat("must have at most ", limits.max_session_bytes,
                                                 " bytes; has ", draft.session.size()));
  }
  request.priority = static_cast<int32_t>(*priority);
  request.tenant = std::move(draft.tenant);
  request.session = std::move(draft.session);
  return absl::OkStatus();
}

absl::StatusOr<Time> deadline(std::optional<double> timeout_seconds, const RequestLimits& limits, Time now) {
  const auto timeout = number_in("timeout_seconds", timeout_seconds, seconds(limits.default_timeout), 0,
                                 seconds(limits.max_timeout), LowerEnd::kExcluded);
  if (!timeout.ok()) return timeout.status();
  return now + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(*timeout));
}

void record_request(const ValidatedRequest& request, const ModelInfo& model, CallRecord& record) {
  record.origin.request_id = request.request_id;
  record.response_id = request.request_id;
  record.model = model.name;
  if (record.parameters) return;
  record.parameters = {.temperature = request.sampling.temperature,
                       .top_p = request.sampling.top_p,
                       .top_k = request.sampling.top_k,
                       .seed = request.sampling.seed,
                       .max_tokens = request.max_tokens,
                       .num_choices = request.num_choices};
}

}  // namespace

absl::Status check_model(std::string_view model, const ModelInfo& served) {
  if (model.empty() || model == served.name) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("model: there is no ", printable(model),
                                          " here; this router serves ", printable(served.name)));
}

absl::StatusOr<std::vector<TokenId>> tokenize_prompt(const Prompt& prompt, bool add_bos,
                                                     const ValidationContext& context) {
  // Text would become ids that the model does not have. Nothing that the client can change.
  if (context.tokenizer->vocab_size() > context.model.vocab_size) {
    return absl::FailedPreconditionError(
        absl::StrCat("the router's tokenizer has ", context.tokenizer->vocab_size(),
                     " pieces, more than the model's vocabulary of ", context.model.vocab_size));
  }
  auto tokens = tokenize_any(prompt, context);
  if (!tokens.ok()) return tokens;
  if (add_bos) tokens->insert(tokens->begin(), context.tokenizer->bos_id());
  if (tokens->empty()) return invalid_field(prompt_field(prompt), "must have at least 1 token; has 0");
  return tokens;
}

absl::StatusOr<ValidatedRequest> validate(RequestDraft draft, const ValidationContext& context, Time now) {
  absl::Status status = check_model(draft.model, context.model);
  if (!status.ok()) return status;
  ValidatedRequest request;

  // What costs little comes first.
  request.request_id = draft.request_id.empty() ? make_request_id() : std::move(draft.request_id);
  status = check_request_id("request_id", request.request_id);
  if (!status.ok()) return status;
  const auto time = deadline(draft.timeout_seconds, context.limits, now);
  if (!time.ok()) return time.status();
  request.deadline = *time;
  status = read_queueing(draft, context.limits, request);
  if (!status.ok()) return status;
  status = read_choices(draft, context.limits, request);
  if (!status.ok()) return status;
  status = read_stops(draft, context, request);
  if (!status.ok()) return status;
  auto sampling = validate_sampling(draft, context);
  if (!sampling.ok()) return sampling.status();
  request.sampling = *std::move(sampling);

  auto prompt = tokenize_prompt(draft.prompt, draft.add_bos, context);
  if (!prompt.ok()) return prompt.status();
  request.prompt = *std::move(prompt);
  status = read_lengths(draft, context, request);
  if (!status.ok()) return status;
  status = read_structured_output(draft, context, request);
  if (!status.ok()) return status;
  if (draft.record) record_request(request, context.model, *draft.record);
  request.record = std::move(draft.record);
  return request;
}

}  // namespace octet::router
