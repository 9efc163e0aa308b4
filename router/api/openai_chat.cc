#include "router/api/openai_chat.h"

#include <boost/json.hpp>
#include <utility>
#include <vector>

#include "router/api/json_text.h"
#include "router/api/openai_call.h"
#include "router/api/openai_request.h"
#include "router/api/openai_response.h"

namespace octet::router {
namespace {

namespace json = boost::json;

class ChatCall final : public OpenAiCall {
 public:
  ChatCall(ServiceContext& context, std::shared_ptr<HttpResponder> responder, const OpenAiOptions& options,
           const ValidatedRequest& request)
      : OpenAiCall(context, std::move(responder), options),
        wants_logprobs_(request.logprobs.has_value()),
        num_prompt_logprobs_(request.prompt_logprobs),
        begun_(options.choices_per_prompt) {}

 private:
  void on_prompt_logprobs(size_t, std::vector<TokenLogprob> logprobs) override {
    prompt_logprobs_ = std::move(logprobs);
  }

  void add_members(json::object& answer) override {
    if (!num_prompt_logprobs_) return;
    answer["prompt_logprobs"] =
        prompt_logprobs_array(*context().tokenizer, prompt_logprobs_, *num_prompt_logprobs_);
  }

  json::object whole_choice(Piece whole) override {
    json::object message{{"role", "assistant"}, {"content", whole.text}, {"refusal", nullptr}};
    return {{"index", whole.index},
            {"message", std::move(message)},
            {"logprobs", logprobs(whole)},
            {"finish_reason", finish_reason_value(whole.finish)},
            {"stop_reason", stop_reason_value(whole)}};
  }

  // The role first, then content, then the end.
  std::vector<json::object> chunk_choices(Piece piece) override {
    std::vector<json::object> choices;
    if (!begun_[piece.index]) {
      begun_[piece.index] = true;
      choices.push_back(chunk(piece.index, {{"role", "assistant"}, {"content", ""}}));
    }
    if (!piece.text.empty() || (wants_logprobs_ && !piece.tokens.empty())) {
      json::object content = chunk(piece.index, {{"content", piece.text}});
      content["logprobs"] = logprobs(piece);
      choices.push_back(std::move(content));
    }
    if (piece.finish) {
      json::object end = chunk(piece.index, json::object());
      end["finish_reason"] = finish_reason_value(piece.finish);
      end["stop_reason"] = stop_reason_value(piece);
      choices.push_back(std::move(end));
    }
    return choices;
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
  std::vector<bool> begun_;                    // [num_choices] whether the role was sent
};

}  // namespace

void serve_chat_completions(ServiceContext& context, const HttpRequest& request,
                            std::shared_ptr<HttpResponder> responder) {
  const auto refuse = [&](const absl::Status& status) { send_openai_error(context, *responder, status); };
  const auto body = parse_json_object(request.body);
  if (!body.ok()) return refuse(body.status());
  auto parsed = parse_chat_request(*body);
  if (!parsed.ok()) return refuse(parsed.status());
  const auto validation = validation_context(context);
  if (!validation.ok()) return refuse(validation.status());
  parsed->draft.request_id = request_id_of(request, parsed->draft.request_id);
  auto validated = validate(std::move(parsed->draft), *validation, now());
  if (!validated.ok()) return refuse(renamed_field(validated.status(), openai_field_names()));

  const char* object = parsed->stream.stream ? "chat.completion.chunk" : "chat.completion";
  const OpenAiOptions options =
      openai_options("chatcmpl-", object, *validated, validation->model, parsed->stream);
  const auto chat = std::make_shared<ChatCall>(context, std::move(responder), options, *validated);
  std::vector<ValidatedRequest> requests;
  requests.push_back(*std::move(validated));
  chat->run(std::move(requests));
}

}  // namespace octet::router
