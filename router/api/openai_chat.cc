#include "router/api/openai_chat.h"

#include <boost/json.hpp>
#include <utility>
#include <vector>

#include "router/api/json_text.h"
#include "router/api/openai_call.h"
#include "router/api/openai_request.h"
#include "router/api/openai_response.h"
#include "router/api/openai_tools.h"
#include "router/api/tool_call_parser.h"
#include "router/tracing/call_record.h"

namespace octet::router {
namespace {

namespace json = boost::json;

class ChatCall final : public OpenAiCall {
 public:
  ChatCall(ServiceContext& context, std::shared_ptr<HttpResponder> responder, const OpenAiOptions& options,
           const ValidatedRequest& request, ToolUse tools)
      : OpenAiCall(context, std::move(responder), options),
        wants_logprobs_(request.logprobs.has_value()),
        num_prompt_logprobs_(request.prompt_logprobs),
        is_stream_(options.stream.stream),
        tools_(std::move(tools)),
        choices_(options.choices_per_prompt) {
    for (Choice& choice : choices_) choice.parser.add(tools_.answer_prefix);
  }

 private:
  struct Choice {
    bool begun = false;  // the role was sent
    ToolCallParser parser;
    size_t num_calls = 0;
  };

  void on_prompt_logprobs(size_t, std::vector<TokenLogprob> logprobs) override {
    prompt_logprobs_ = std::move(logprobs);
  }

  void add_members(json::object& answer) override {
    if (!num_prompt_logprobs_) return;
    answer["prompt_logprobs"] =
        prompt_logprobs_array(*context().tokenizer, prompt_logprobs_, *num_prompt_logprobs_);
  }

  json::object whole_choice(Piece whole) override {
    Said said = say(whole);
    json::value content(said.text);
    if (said.text.empty() && !said.calls.empty()) content = nullptr;
    json::object message{{"role", "assistant"}, {"content", std::move(content)}, {"refusal", nullptr}};
    if (!said.calls.empty()) message["tool_calls"] = std::move(said.calls);
    return {{"index", whole.index},
            {"message", std::move(message)},
            {"logprobs", logprobs(whole)},
            {"finish_reason", finish_reason(whole)},
            {"stop_reason", stop_reason(whole)}};
  }

  // The role first, then content and calls, then the end.
  std::vector<json::object> chunk_choices(Piece piece) override {
    std::vector<json::object> choices;
    if (!choices_[piece.index].begun) {
      choices_[piece.index].begun = true;
      choices.push_back(chunk(piece.index, {{"role", "assistant"}, {"content", ""}}));
    }
    Said said = say(piece);
    if (!said.text.empty() || (wants_logprobs_ && !piece.tokens.empty())) {
      json::object content = chunk(piece.index, {{"content", said.text}});
      content["logprobs"] = logprobs(piece);
      choices.push_back(std::move(content));
    }
    if (!said.calls.empty()) choices.push_back(chunk(piece.index, {{"tool_calls", std::move(said.calls)}}));
    if (piece.finish) {
      json::object end = chunk(piece.index, json::object());
      end["finish_reason"] = finish_reason(piece);
      end["stop_reason"] = stop_reason(piece);
      choices.push_back(std::move(end));
    }
    return choices;
  }

  // What a piece adds to a choice.
  struct Said {
    std::string text;
    json::array calls;  // tool_call_object(), each with its index in a stream
  };

  Said say(const Piece& piece) {
    if (!tools_.any()) return {.text = piece.text, .calls = {}};
    Choice& choice = choices_[piece.index];
    ToolCallParser::Output output = choice.parser.add(piece.text);
    Said said{.text = std::move(output.text), .calls = {}};
    add_calls(std::move(output.calls), choice, said);
    if (piece.finish) {
      output = choice.parser.finish();
      said.text += output.text;
      add_calls(std::move(output.calls), choice, said);
    }
    return said;
  }

  void add_calls(std::vector<ToolCall> calls, Choice& choice, Said& said) {
    for (ToolCall& call : calls) {
      json::object object = tool_call_object(std::move(call));
      if (is_stream_) object["index"] = choice.num_calls;
      ++choice.num_calls;
      said.calls.push_back(std::move(object));
    }
  }

  json::value finish_reason(const Piece& piece) const {
    const bool calls = piece.finish == FinishReason::kStop && choices_[piece.index].num_calls > 0;
    return calls ? json::value("tool_calls") : finish_reason_value(piece.finish);
  }

  // The end of the only call that is wanted is no stop string of the client's.
  json::value stop_reason(const Piece& piece) const {
    return tools_.at_most_one && piece.stop_reason == kToolCallEnd ? json::value(nullptr)
                                                                   : stop_reason_value(piece);
  }

  static json::object chunk(uint32_t index, json::object delta) {
    return {{"index", index}, {"delta", std::move(delta)}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
  }

  json::value logprobs(const Piece& piece) {
    if (!wants_logprobs_) return nullptr;
    return chat_logprobs(*context().tokenizer, piece.logprobs);
  }

  const bool wants_logprobs_;
  const std::optional<uint32_t> num_prompt_logprobs_;
  std::vector<TokenLogprob> prompt_logprobs_;  // of the tokens after the first, when asked for
  const bool is_stream_;
  const ToolUse tools_;
  std::vector<Choice> choices_;  // [num_choices]
};

}  // namespace

void serve_chat_completions(ServiceContext& context, const HttpRequest& request,
                            std::shared_ptr<HttpResponder> responder) {
  const auto refuse = [&](const absl::Status& status) {
    send_openai_error(context, request, *responder, status);
  };
  const auto body = parse_json_object(request.body);
  if (!body.ok()) return refuse(body.status());
  auto parsed = parse_chat_request(*body);
  if (!parsed.ok()) return refuse(parsed.status());
  const auto validation = validation_context(context);
  if (!validation.ok()) return refuse(validation.status());
  parsed->draft.request_id = request_id_of(request, parsed->draft.request_id);
  parsed->draft.tenant = tenant_of(request);
  parsed->draft.record = request.record;
  auto validated = validate(std::move(parsed->draft), *validation, now());
  if (!validated.ok()) return refuse(renamed_field(validated.status(), openai_field_names()));

  validated->streamed = parsed->stream.stream;
  const char* object = parsed->stream.stream ? "chat.completion.chunk" : "chat.completion";
  const OpenAiOptions options =
      openai_options("chatcmpl-", object, *validated, validation->model, parsed->stream);
  if (request.record) request.record->response_id = options.head.id;
  if (parsed->tools.any() && parsed->tools.at_most_one) validated->stop.emplace_back(kToolCallEnd);
  const auto chat = std::make_shared<ChatCall>(context, std::move(responder), options, *validated,
                                               std::move(parsed->tools));
  std::vector<ValidatedRequest> requests;
  requests.push_back(*std::move(validated));
  chat->run(std::move(requests));
}

}  // namespace octet::router
