#include "router/api/http_record.h"

#include "absl/strings/str_cat.h"

namespace octet::router {
namespace {

// A longer path or method is none that exists.
constexpr size_t kMaxTextBytes = 256;

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
                                              const HttpRoute* route, const std::string& client) {
  CallOrigin origin{.api = "",
                    .operation = "",
                    .method = shortened(request.method),
                    .path = shortened(request.path),
                    .client = client,
                    .request_id = request.id};
  if (route != nullptr) {
    origin.api = route->api;
    if (route->methods.contains(request.method)) origin.operation = route->operation;
  }
  // Two of them are no traceparent.
  return calls.begin(std::move(origin), joined(request, "traceparent"), joined(request, "tracestate"));
}

}  // namespace octet::router
