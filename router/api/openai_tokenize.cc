#include "router/api/openai_tokenize.h"

#include <boost/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "router/api/generation_call.h"
#include "router/api/json_fields.h"
#include "router/api/json_text.h"
#include "router/api/openai_call.h"
#include "router/api/openai_messages.h"

namespace octet::router {
namespace {

namespace json = boost::json;

struct TokenizeBody {
  std::string model;
  Prompt prompt;
  bool with_pieces = false;
};

absl::StatusOr<TokenizeBody> parse_tokenize(const json::object& object) {
  JsonFields fields(object);
  TokenizeBody body;
  body.model = fields.string("model").value_or("");
  body.with_pieces = fields.boolean("return_token_strs").value_or(false);
  fields.boolean("add_special_tokens");  // the family's tokenizers add none by themselves
  const std::optional<std::string> text = fields.string("prompt");
  const bool is_chat = fields.any("messages") != nullptr;
  if (text && is_chat) fields.fail("messages", "is not allowed beside prompt");
  if (!text && !is_chat) fields.fail("prompt", "is required, or messages");
  if (text) body.prompt = *text;
  if (is_chat) body.prompt = read_chat(fields).chat;
  if (absl::Status status = fields.finish(); !status.ok()) return status;
  return body;
}

absl::StatusOr<json::object> tokenize(const json::object& object, const ValidationContext& validation) {
  const auto body = parse_tokenize(object);
  if (!body.ok()) return body.status();
  if (absl::Status status = check_model(body->model, validation.model); !status.ok()) return status;
  const auto tokens = tokenize_prompt(body->prompt, /*add_bos=*/false, validation);
  if (!tokens.ok()) return tokens.status();
  json::value pieces = nullptr;
  if (body->with_pieces) {
    json::array& list = pieces.emplace_array();
    for (const TokenId token : *tokens) list.emplace_back(json::string(validation.tokenizer->piece(token)));
  }
  return json::object{{"count", tokens->size()},
                      {"max_model_len", validation.model.max_model_len},
                      {"tokens", json::value_from(*tokens)},
                      {"token_strs", std::move(pieces)}};
}

absl::StatusOr<json::object> detokenize(const json::object& object, const ValidationContext& validation) {
  JsonFields fields(object);
  const std::string model = fields.string("model").value_or("");
  const std::vector<int64_t> ids = fields.integers("tokens");
  if (fields.any("tokens") == nullptr) fields.fail("tokens", "is required");
  if (absl::Status status = fields.finish(); !status.ok()) return status;
  if (absl::Status status = check_model(model, validation.model); !status.ok()) return status;
  const auto tokens = tokenize_prompt(ids, /*add_bos=*/false, validation);
  if (!tokens.ok()) return renamed_field(tokens.status(), {{"prompt", "tokens"}});
  return json::object{{"prompt", validation.tokenizer->decode(*tokens)}};
}

template <typename Method>
void answer_at_once(ServiceContext& context, const HttpRequest& request, HttpResponder& responder,
                    Method method) {
  const auto refuse = [&](const absl::Status& status) {
    send_openai_error(context, request, responder, status);
  };
  const auto body = parse_json_object(request.body);
  if (!body.ok()) return refuse(body.status());
  const auto validation = validation_context(context);
  if (!validation.ok()) return refuse(validation.status());
  const absl::StatusOr<json::object> answer = method(*body, *validation);
  if (!answer.ok()) return refuse(answer.status());
  responder.send(200, "application/json", json_text(*answer));
}

}  // namespace

void serve_tokenize(ServiceContext& context, const HttpRequest& request,
                    const std::shared_ptr<HttpResponder>& responder) {
  answer_at_once(context, request, *responder, tokenize);
}

void serve_detokenize(ServiceContext& context, const HttpRequest& request,
                      const std::shared_ptr<HttpResponder>& responder) {
  answer_at_once(context, request, *responder, detokenize);
}

void serve_tokenizer_info(ServiceContext& context, const HttpRequest& request, HttpResponder& responder) {
  const auto validation = validation_context(context);
  if (!validation.ok()) return send_openai_error(context, request, responder, validation.status());
  const json::object answer{
      {"bos_token", nullptr}, {"eos_token", nullptr}, {"model_max_length", validation->model.max_model_len}};
  responder.send(200, "application/json", json_text(answer));
}

}  // namespace octet::router
