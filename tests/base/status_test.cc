#include "base/status.h"

#include <gtest/gtest.h>

namespace octet {
namespace {

TEST(StatusTest, InvalidFieldNamesTheFieldInTextAndForPrograms) {
  const absl::Status status = invalid_field("top_p", "must be at most 1, given 2");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(text_of(status), "top_p: must be at most 1, given 2");
  EXPECT_EQ(field_of(status), "top_p");
  EXPECT_FALSE(retry_after_of(status));
}

TEST(StatusTest, OverloadedAndUnavailableSayWhenToComeBack) {
  const absl::Status busy = overloaded("queue full", std::chrono::milliseconds(1500));
  EXPECT_EQ(busy.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(retry_after_of(busy), std::chrono::milliseconds(1500));
  const absl::Status gone = unavailable("no pipeline", std::chrono::seconds(2));
  EXPECT_EQ(gone.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(retry_after_of(gone), std::chrono::seconds(2));
  EXPECT_FALSE(field_of(gone));
}

TEST(StatusTest, AnOkStatusStaysOk) {
  EXPECT_TRUE(with_field(absl::OkStatus(), "x").ok());
  EXPECT_TRUE(with_retry_after(absl::OkStatus(), std::chrono::seconds(1)).ok());
  EXPECT_FALSE(field_of(with_field(absl::OkStatus(), "x")));
}

}  // namespace
}  // namespace octet
