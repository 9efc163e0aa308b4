#include "router/api/error_mapping.h"

#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "base/status.h"
#include "router/api/renamed_field.h"

namespace octet::router {
namespace {

TEST(ErrorMapping, HasARowForEveryStatus) {
  struct Row {
    absl::Status status;
    int http;
    const char* outcome;
    const char* type;
  };
  const std::vector<Row> rows = {
      {absl::InvalidArgumentError("m"), 400, "invalid", "invalid_request_error"},
      {absl::OutOfRangeError("m"), 400, "invalid", "invalid_request_error"},
      {absl::NotFoundError("m"), 404, "invalid", "invalid_request_error"},
      {absl::ResourceExhaustedError("m"), 429, "overloaded", "rate_limit_error"},
      {absl::UnavailableError("m"), 503, "unavailable", "service_unavailable_error"},
      {absl::DeadlineExceededError("m"), 504, "deadline", "timeout_error"},
      {absl::CancelledError("m"), 499, "cancelled", "cancelled_error"},
      {absl::InternalError("m"), 500, "internal", "internal_error"},
      {absl::UnknownError("m"), 500, "internal", "internal_error"},
      {absl::DataLossError("m"), 500, "internal", "internal_error"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(http_status(row.status), row.http) << row.status;
    EXPECT_EQ(outcome_label(row.status), row.outcome) << row.status;
    EXPECT_NE(openai_error_body(row.status).find(std::string("\"type\":\"") + row.type + "\""),
              std::string::npos);
  }
  EXPECT_EQ(http_status(absl::OkStatus()), 200);
  EXPECT_EQ(outcome_label(absl::OkStatus()), "ok");
}

TEST(ErrorMapping, WritesOpenAiBody) {
  EXPECT_EQ(
      openai_error_body(invalid_field("top_p", "must be \"small\"")),
      R"({"error":{"message":"top_p: must be \"small\"","type":"invalid_request_error","param":"top_p",)"
      R"("code":"invalid_value"}})");
  EXPECT_EQ(openai_error_body(absl::InternalError("m")),
            R"({"error":{"message":"m","type":"internal_error","param":null,"code":"internal_error"}})");
}

TEST(ErrorMapping, RoundsRetryAfterUp) {
  EXPECT_EQ(error_headers(overloaded("m", std::chrono::milliseconds(1500))),
            (HttpHeaders{{"Retry-After", "2"}}));
  EXPECT_EQ(error_headers(unavailable("m", std::chrono::milliseconds(0))),
            (HttpHeaders{{"Retry-After", "1"}}));
  EXPECT_TRUE(error_headers(absl::UnavailableError("m")).empty());
}

TEST(RenamedField, RenamesFieldAndMessage) {
  const FieldNames names = {{"stop", "end_strings"}, {"max_tokens", "tokens_to_generate"}};
  const absl::Status plain = renamed_field(invalid_field("max_tokens", "is 0"), names);
  EXPECT_EQ(plain.message(), "tokens_to_generate: is 0");
  EXPECT_EQ(field_of(plain), "tokens_to_generate");
  EXPECT_EQ(renamed_field(invalid_field("stop[3]", "is empty"), names).message(), "end_strings[3]: is empty");
  EXPECT_EQ(renamed_field(invalid_field("stop_token_ids", "x"), names).message(), "stop_token_ids: x");
  EXPECT_EQ(renamed_field(absl::NotFoundError("stop: x"), names).message(), "stop: x");
}

}  // namespace
}  // namespace octet::router
