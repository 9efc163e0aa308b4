// The routes of OpenAI's API; what they do is in openai_completions and openai_chat.
#include <boost/json.hpp>
#include <chrono>
#include <optional>

#include "absl/strings/ascii.h"
#include "router/api/apis.h"
#include "router/api/generation_call.h"
#include "router/api/json_text.h"
#include "router/api/openai_call.h"
#include "router/api/openai_chat.h"
#include "router/api/openai_completions.h"
#include "router/api/openai_tokenize.h"

namespace octet::router {
namespace {

namespace json = boost::json;

constexpr std::string_view kModelPath = "/v1/models/";

json::object model_object(const ModelInfo& model) {
  return {{"id", model.name},
          {"object", "model"},
          {"created", 0},
          {"owned_by", "octet"},
          {"max_model_len", model.max_model_len}};
}

int hex_value(char c) {
  if (absl::ascii_isdigit(c)) return c - '0';
  return absl::ascii_tolower(c) - 'a' + 10;
}

// "%2F" as "/"; what is no such escape stays as it is.
std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() && absl::ascii_isxdigit(text[i + 1]) &&
                        absl::ascii_isxdigit(text[i + 2]);
    if (!escape) {
      out += text[i];
      continue;
    }
    out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
    i += 2;
  }
  return out;
}

void send_model(ServiceContext& context, const HttpRequest& request, HttpResponder& responder,
                const std::optional<std::string>& name) {
  const auto validation = validation_context(context);
  absl::Status status = validation.status();
  if (status.ok() && name) status = check_model(*name, validation->model);
  if (!status.ok()) return send_openai_error(context, request, responder, status);
  const json::object model = model_object(validation->model);
  const json::object answer = name ? model : json::object{{"object", "list"}, {"data", json::array{model}}};
  responder.send(200, "application/json", json_text(answer));
}

}  // namespace

void add_openai_routes(HttpServer::Routes& routes, ServiceContext& context) {
  const auto add = [&](const std::string& path, const char* method, const char* operation, auto handler) {
    routes[path] = {.methods = {{method, std::move(handler)}}, .api = "openai", .operation = operation};
  };
  add("/v1/completions", "POST", "text_completion",
      [&context](const HttpRequest& request, std::shared_ptr<HttpResponder> responder) {
        serve_completions(context, request, std::move(responder));
      });
  add("/v1/chat/completions", "POST", "chat",
      [&context](const HttpRequest& request, std::shared_ptr<HttpResponder> responder) {
        serve_chat_completions(context, request, std::move(responder));
      });
  for (const std::string prefix : {"/v1", ""}) {
    add(prefix + "/tokenize", "POST", "",
        [&context](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
          serve_tokenize(context, request, responder);
        });
    add(prefix + "/detokenize", "POST", "",
        [&context](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
          serve_detokenize(context, request, responder);
        });
    add(prefix + "/tokenizer_info", "GET", "",
        [&context](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
          serve_tokenizer_info(context, request, *responder);
        });
  }
  add("/v1/models", "GET", "",
      [&context](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
        send_model(context, request, *responder, std::nullopt);
      });
  add("/v1/models/*", "GET", "",
      [&context](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
        send_model(context, request, *responder,
                   percent_decoded(std::string_view(request.path).substr(kModelPath.size())));
      });
}

}  // namespace octet::router
