// The one table of errors: absl status -> HTTP code, OpenAI error type, metric label. gRPC codes are absl's
// own (base/grpc_server.h adds the google.rpc details).
//   INVALID_ARGUMENT 400 invalid_request_error "invalid" · NOT_FOUND 404 "invalid" · RESOURCE_EXHAUSTED 429
//   rate_limit_error "overloaded" · UNAVAILABLE 503 service_unavailable_error "unavailable" ·
//   DEADLINE_EXCEEDED 504 timeout_error "deadline" · CANCELLED 499 "cancelled" · everything else 500
//   internal_error "internal"
#pragma once

#include <string>

#include "absl/status/status.h"
#include "router/api/http_server.h"

namespace octet::router {

int http_status(const absl::Status& status);
// octet_requests_total's outcome; "ok" for OK.
std::string outcome_label(const absl::Status& status);
// {"error": {"message", "type", "param", "code"}}
std::string openai_error_body(const absl::Status& status);
// Retry-After in whole seconds, when the status carries a hint.
HttpHeaders error_headers(const absl::Status& status);

}  // namespace octet::router
