// Bad input as a value: an absl::Status that knows which field was wrong and when to try again. The API
// layers turn it into google.rpc details, an OpenAI error body and a metric label.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"

namespace octet {

// Debian's Abseil is built with a string_view of its own, which takes no std::string_view.
inline absl::string_view absl_view(std::string_view text) {
  return {text.data(), text.size()};
}

// The status' message, for log lines and for functions that take std::string_view.
inline std::string text_of(const absl::Status& status) {
  return std::string(status.message());
}

// INVALID_ARGUMENT "field: message"; the message holds the limit and the given value.
absl::Status invalid_field(std::string_view field, std::string_view message);
// RESOURCE_EXHAUSTED with a hint when to come back.
absl::Status overloaded(std::string_view message, Duration retry_after);
// The same, and which limit it was: a short name such as "queued_requests".
absl::Status quota_exceeded(std::string_view quota, std::string_view message, Duration retry_after);
// UNAVAILABLE with a hint when to come back.
absl::Status unavailable(std::string_view message, Duration retry_after);

// The same for a status that came from elsewhere; nothing happens to an OK status.
absl::Status with_field(absl::Status status, std::string_view field);
absl::Status with_retry_after(absl::Status status, Duration retry_after);
absl::Status with_quota(absl::Status status, std::string_view quota);

// The field that invalid_field() named, if any.
std::optional<std::string> field_of(const absl::Status& status);
// The hint that overloaded(), quota_exceeded() or unavailable() gave, if any.
std::optional<Duration> retry_after_of(const absl::Status& status);
// The limit that quota_exceeded() named, if any.
std::optional<std::string> quota_of(const absl::Status& status);

}  // namespace octet
