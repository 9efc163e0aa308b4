// POST /v1/tokenize and /v1/detokenize, GET /v1/tokenizer_info, each also without /v1: bodies and answers are
// vLLM's.
#pragma once

#include <memory>

#include "router/api/http_server.h"
#include "router/api/service_context.h"

namespace octet::router {

// {"model", "prompt" or the fields of a chat's prompt, "add_special_tokens", "return_token_strs"}
// -> {"count", "max_model_len", "tokens", "token_strs"}
void serve_tokenize(ServiceContext& context, const HttpRequest& request,
                    const std::shared_ptr<HttpResponder>& responder);
// {"model", "tokens"} -> {"prompt"}
void serve_detokenize(ServiceContext& context, const HttpRequest& request,
                      const std::shared_ptr<HttpResponder>& responder);
// {"bos_token", "eos_token", "model_max_length"}: what lm-eval's remote tokenizer asks for. Both tokens are
// null, since control pieces have no text here: "</s>" in a prompt is ordinary tokens.
void serve_tokenizer_info(ServiceContext& context, const HttpRequest& request, HttpResponder& responder);

}  // namespace octet::router
