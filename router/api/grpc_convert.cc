#include "router/api/grpc_convert.h"

#include <utility>
#include <vector>

#include "base/utf8.h"

namespace octet::router {
namespace {

std::vector<int64_t> to_ids(const google::protobuf::RepeatedField<uint32_t>& ids) {
  return {ids.begin(), ids.end()};
}

std::vector<ChatMessage> to_messages(const v1::ChatPrompt& chat) {
  std::vector<ChatMessage> messages;
  messages.reserve(chat.messages_size());
  for (const v1::ChatMessage& message : chat.messages())
    messages.push_back({message.role(), message.content()});
  return messages;
}

void set_sampling(const v1::SamplingParams& sampling, RequestDraft& draft) {
  if (sampling.has_temperature()) draft.temperature = sampling.temperature();
  if (sampling.has_top_k()) draft.top_k = sampling.top_k();
  if (sampling.has_top_p()) draft.top_p = sampling.top_p();
  if (sampling.has_min_p()) draft.min_p = sampling.min_p();
  if (sampling.has_repetition_penalty()) draft.repetition_penalty = sampling.repetition_penalty();
  if (sampling.has_presence_penalty()) draft.presence_penalty = sampling.presence_penalty();
  if (sampling.has_frequency_penalty()) draft.frequency_penalty = sampling.frequency_penalty();
  for (const auto& [token, bias] : sampling.logit_bias()) draft.logit_bias[token] = bias;
  draft.bad_words.assign(sampling.bad_words().begin(), sampling.bad_words().end());
  if (sampling.has_seed()) draft.seed = sampling.seed();
}

void set_stop(const v1::StopConditions& stop, RequestDraft& draft) {
  if (stop.has_max_tokens()) draft.max_tokens = stop.max_tokens();
  draft.min_tokens = stop.min_tokens();
  draft.stop.assign(stop.stop().begin(), stop.stop().end());
  draft.stop_token_ids = to_ids(stop.stop_token_ids());
  draft.ignore_eos = stop.ignore_eos();
  draft.include_stop = stop.include_stop();
}

std::optional<StructuredOutput> to_structured_output(const v1::StructuredOutput& given) {
  using Kind = StructuredOutput::Kind;
  StructuredOutput output;
  const auto set = [&](Kind kind, const std::string& source, const char* field) {
    output.kind = kind;
    output.source = source;
    output.field = std::string("structured_output.") + field;
  };
  switch (given.kind_case()) {
    case v1::StructuredOutput::kJsonSchema:
      set(Kind::kJsonSchema, given.json_schema(), "json_schema");
      return output;
    case v1::StructuredOutput::kJsonObject:
      set(Kind::kJsonObject, "", "json_object");
      if (!given.json_object()) return std::nullopt;
      return output;
    case v1::StructuredOutput::kRegex:
      set(Kind::kRegex, given.regex(), "regex");
      return output;
    case v1::StructuredOutput::kGrammar:
      set(Kind::kGrammar, given.grammar(), "grammar");
      return output;
    case v1::StructuredOutput::kChoices:
      set(Kind::kChoice, "", "choices");
      output.choices.assign(given.choices().texts().begin(), given.choices().texts().end());
      return output;
    case v1::StructuredOutput::KIND_NOT_SET:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

RequestDraft to_draft(const v1::GenerateRequest& request) {
  RequestDraft draft;
  draft.model = request.model();
  switch (request.prompt_case()) {
    case v1::GenerateRequest::kText:
      draft.prompt = request.text();
      break;
    case v1::GenerateRequest::kTokenIds:
      draft.prompt = to_ids(request.token_ids().ids());
      break;
    case v1::GenerateRequest::kChat:
      draft.prompt = to_messages(request.chat());
      break;
    case v1::GenerateRequest::PROMPT_NOT_SET:
      break;
  }
  set_sampling(request.sampling(), draft);
  set_stop(request.stop(), draft);
  if (request.has_n()) draft.n = request.n();
  if (request.has_logprobs()) draft.logprobs = request.logprobs();
  if (request.has_prompt_logprobs()) draft.prompt_logprobs = request.prompt_logprobs();
  draft.request_id = request.request_id();
  if (request.has_priority()) draft.priority = request.priority();
  draft.session = request.session();
  draft.structured_output = to_structured_output(request.structured_output());
  return draft;
}

RequestDraft to_draft(const v1::ScoreRequest& request) {
  RequestDraft draft;
  draft.model = request.model();
  if (request.has_text()) draft.prompt = request.text();
  if (request.has_token_ids()) draft.prompt = to_ids(request.token_ids().ids());
  draft.temperature = 0;
  draft.max_tokens = 1;
  draft.prompt_logprobs = request.top_logprobs();
  return draft;
}

Prompt to_prompt(const v1::TokenizeRequest& request) {
  if (request.has_text()) return request.text();
  if (request.has_chat()) return to_messages(request.chat());
  return std::monostate();
}

v1::FinishReason to_proto(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
    case FinishReason::kDeadline:
      return v1::FINISH_REASON_DEADLINE;
    case FinishReason::kCancelled:
      return v1::FINISH_REASON_CANCELLED;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

void fill(const TokenLogprob& token, const Tokenizer& tokenizer, v1::TokenLogprob& out) {
  out.set_token_id(token.token);
  out.set_token(token_text(token.token, tokenizer));
  out.set_logprob(token.logprob);
  for (const auto& [id, logprob] : token.top) {
    v1::TokenLogprob& top = *out.add_top();
    top.set_token_id(id);
    top.set_token(token_text(id, tokenizer));
    top.set_logprob(logprob);
  }
}

void fill(const GenerationUsage& usage, v1::Usage& out) {
  out.set_prompt_tokens(usage.prompt_tokens);
  out.set_completion_tokens(usage.completion_tokens);
  out.set_cached_tokens(usage.cached_tokens);
}

void fill(Piece piece, const Tokenizer& tokenizer, v1::GenerateResponse& out) {
  out.set_index(piece.index);
  out.set_text(std::move(piece.text));
  out.mutable_token_ids()->Add(piece.tokens.begin(), piece.tokens.end());
  for (const TokenLogprob& token : piece.logprobs) fill(token, tokenizer, *out.add_logprobs());
  if (piece.finish) out.set_finish_reason(to_proto(*piece.finish));
  out.set_stop_reason(std::move(piece.stop_reason));
}

std::string token_text(TokenId token, const Tokenizer& tokenizer) {
  return replace_invalid_utf8(tokenizer.is_control(token) ? tokenizer.piece(token) : tokenizer.bytes(token));
}

}  // namespace octet::router
