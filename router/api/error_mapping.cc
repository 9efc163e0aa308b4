#include "router/api/error_mapping.h"

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <chrono>
#include <optional>

#include "base/status.h"
#include "router/api/json_text.h"

namespace octet::router {
namespace {

struct Row {
  absl::StatusCode status;
  int http;
  const char* type;
  const char* code;
  const char* outcome;
};

// The table; a status that is not in it is the last row.
constexpr std::array<Row, 11> kRows = {{
    {absl::StatusCode::kOk, 200, "", "", "ok"},
    {absl::StatusCode::kInvalidArgument, 400, "invalid_request_error", "invalid_value", "invalid"},
    {absl::StatusCode::kOutOfRange, 400, "invalid_request_error", "invalid_value", "invalid"},
    {absl::StatusCode::kNotFound, 404, "invalid_request_error", "model_not_found", "invalid"},
    {absl::StatusCode::kUnauthenticated, 401, "authentication_error", "invalid_api_key", "unauthenticated"},
    {absl::StatusCode::kPermissionDenied, 403, "permission_error", "insufficient_permissions", "forbidden"},
    {absl::StatusCode::kResourceExhausted, 429, "rate_limit_error", "rate_limit_exceeded", "overloaded"},
    {absl::StatusCode::kUnavailable, 503, "service_unavailable_error", "service_unavailable", "unavailable"},
    {absl::StatusCode::kDeadlineExceeded, 504, "timeout_error", "timeout", "deadline"},
    {absl::StatusCode::kCancelled, 499, "cancelled_error", "cancelled", "cancelled"},
    {absl::StatusCode::kInternal, 500, "internal_error", "internal_error", "internal"},
}};

const Row& row_of(const absl::Status& status) {
  const auto* row =
      std::find_if(kRows.begin(), kRows.end() - 1, [&](const Row& r) { return r.status == status.code(); });
  return *row;
}

}  // namespace

int http_status(const absl::Status& status) {
  return row_of(status).http;
}

std::string outcome_label(const absl::Status& status) {
  return row_of(status).outcome;
}

std::string openai_error_body(const absl::Status& status) {
  const Row& row = row_of(status);
  boost::json::object error;
  error["message"] = boost::json::string_view(status.message().data(), status.message().size());
  error["type"] = row.type;
  const std::optional<std::string> field = field_of(status);
  error["param"] = field ? boost::json::value(*field) : boost::json::value(nullptr);
  error["code"] = row.code;
  boost::json::object body;
  body["error"] = std::move(error);
  return json_text(body);
}

HttpHeaders error_headers(const absl::Status& status) {
  if (absl::IsUnauthenticated(status)) return {{"WWW-Authenticate", "Bearer"}};
  const std::optional<Duration> hint = retry_after_of(status);
  if (!hint) return {};
  const auto whole_seconds = std::chrono::ceil<std::chrono::seconds>(*hint).count();
  return {{"Retry-After", std::to_string(std::max<int64_t>(whole_seconds, 1))}};
}

}  // namespace octet::router
