#include "router/api/http_record.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"

namespace octet::router {
namespace {

// A longer path or method is none that exists.
constexpr size_t kMaxTextBytes = 256;

struct Route {
  const char* path;
  const char* api;
  const char* method;     // that generates; empty: none
  const char* operation;  // what that is
};

constexpr std::array<Route, 8> kRoutes = {{{"/v1/chat/completions", "openai", "POST", "chat"},
                                           {"/v1/completions", "openai", "POST", "text_completion"},
                                           {"/v1/tokenize", "openai", "", ""},
                                           {"/v1/detokenize", "openai", "", ""},
                                           {"/tokenize", "openai", "", ""},
                                           {"/detokenize", "openai", "", ""},
                                           {"/v1/models", "openai", "", ""},
                                           {"/generate", "nemo", "PUT", "text_completion"}}};

std::string shortened(const std::string& text) {
  return text.size() <= kMaxTextBytes ? text : text.substr(0, kMaxTextBytes) + "...";
}

// All headers of this name, as one list.
std::string joined(const HttpRequest& request, std::string_view lower_case_name) {
  std::string list;
  for (const auto& [name, value] : request.headers) {
    if (name == lower_case_name) absl::StrAppend(&list, list.empty() ? "" : ",", value);
  }
  return list;
}

}  // namespace

std::shared_ptr<CallRecord> begin_http_record(const CallRecorder& calls, const HttpRequest& request,
                                              const std::string& client) {
  CallOrigin origin{.api = "",
                    .operation = "",
                    .method = shortened(request.method),
                    .path = shortened(request.path),
                    .client = client,
                    .request_id = request.id};
  const auto* route = std::find_if(kRoutes.begin(), kRoutes.end(),
                                   [&](const Route& known) { return request.path == known.path; });
  if (route != kRoutes.end()) {
    origin.api = route->api;
    if (request.method == route->method) origin.operation = route->operation;
  }
  // Two of them are no traceparent.
  return calls.begin(std::move(origin), joined(request, "traceparent"), joined(request, "tracestate"));
}

}  // namespace octet::router
