#include "base/status.h"

#include <charconv>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace octet {
namespace {

constexpr absl::string_view kFieldPayload = "octet/field";
constexpr absl::string_view kQuotaPayload = "octet/quota";
constexpr absl::string_view kRetryPayload = "octet/retry_after_ms";

std::optional<std::string> payload_of(const absl::Status& status, absl::string_view name) {
  const auto payload = status.GetPayload(name);
  if (!payload) return std::nullopt;
  return std::string(*payload);
}

}  // namespace

absl::Status with_field(absl::Status status, std::string_view field) {
  status.SetPayload(kFieldPayload, absl::Cord(absl_view(field)));
  return status;
}

absl::Status with_retry_after(absl::Status status, Duration retry_after) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(retry_after).count();
  status.SetPayload(kRetryPayload, absl::Cord(absl::StrCat(ms)));
  return status;
}

absl::Status with_quota(absl::Status status, std::string_view quota) {
  status.SetPayload(kQuotaPayload, absl::Cord(absl_view(quota)));
  return status;
}

absl::Status invalid_field(std::string_view field, std::string_view message) {
  return with_field(absl::InvalidArgumentError(absl::StrCat(absl_view(field), ": ", absl_view(message))),
                    field);
}

absl::Status overloaded(std::string_view message, Duration retry_after) {
  return with_retry_after(absl::ResourceExhaustedError(absl_view(message)), retry_after);
}

absl::Status quota_exceeded(std::string_view quota, std::string_view message, Duration retry_after) {
  return with_quota(overloaded(message, retry_after), quota);
}

absl::Status unavailable(std::string_view message, Duration retry_after) {
  return with_retry_after(absl::UnavailableError(absl_view(message)), retry_after);
}

std::optional<std::string> field_of(const absl::Status& status) {
  return payload_of(status, kFieldPayload);
}

std::optional<std::string> quota_of(const absl::Status& status) {
  return payload_of(status, kQuotaPayload);
}

std::optional<Duration> retry_after_of(const absl::Status& status) {
  const auto text = payload_of(status, kRetryPayload);
  if (!text) return std::nullopt;
  int64_t ms = 0;
  std::from_chars(text->data(), text->data() + text->size(), ms);
  return std::chrono::milliseconds(ms);
}

}  // namespace octet
