#include <gtest/gtest.h>

#include "base/grpc_server.h"
#include "base/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace octet {
namespace {

TEST(GrpcStatusTest, CodesAndTextsSurviveTheWayThereAndBack) {
  EXPECT_TRUE(to_grpc(absl::OkStatus()).ok());
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "why");
    EXPECT_EQ(to_grpc(status).error_code(), code);
    EXPECT_EQ(from_grpc(to_grpc(status)), status);
  }
}

TEST(GrpcStatusTest, AnInvalidFieldBecomesABadRequest) {
  const absl::Status status = invalid_field("sampling.top_p", "must be at most 1, given 2");
  const grpc::Status sent = to_grpc(status);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(sent.error_details()));
  EXPECT_EQ(details.code(), 3);
  ASSERT_EQ(details.details_size(), 1);
  EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.BadRequest");
  google::rpc::BadRequest bad_request;
  ASSERT_TRUE(details.details(0).UnpackTo(&bad_request));
  EXPECT_EQ(bad_request.field_violations(0).field(), "sampling.top_p");
  EXPECT_EQ(field_of(from_grpc(sent)), "sampling.top_p");
  EXPECT_EQ(from_grpc(sent), status);
}

TEST(GrpcStatusTest, ARetryHintBecomesARetryInfo) {
  const grpc::Status sent = to_grpc(overloaded("queue full", std::chrono::milliseconds(1500)));
  google::rpc::Status details;
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(details.ParseFromString(sent.error_details()));
  ASSERT_TRUE(details.details(0).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
  EXPECT_EQ(retry_after_of(from_grpc(sent)), std::chrono::milliseconds(1500));
}

TEST(GrpcStatusTest, AnExceededQuotaBecomesAQuotaFailureBesideTheHint) {
  const absl::Status status =
      quota_exceeded("queued_requests", "3 requests wait, of at most 3", std::chrono::seconds(2));
  const grpc::Status sent = to_grpc(status);
  EXPECT_EQ(sent.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(sent.error_details()));
  ASSERT_EQ(details.details_size(), 2);
  google::rpc::QuotaFailure failure;
  ASSERT_TRUE(details.details(0).UnpackTo(&failure));
  EXPECT_EQ(failure.violations(0).subject(), "queued_requests");
  EXPECT_EQ(failure.violations(0).description(), "3 requests wait, of at most 3");
  EXPECT_EQ(quota_of(from_grpc(sent)), "queued_requests");
  EXPECT_EQ(from_grpc(sent), status);
}

TEST(GrpcStatusTest, HostileDetailsAreIgnoredOrBounded) {
  const absl::Status garbage =
      from_grpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "why", "\xff\xff not a message"));
  EXPECT_EQ(garbage, absl::UnavailableError("why"));

  google::rpc::Status details;
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(std::numeric_limits<int64_t>::max());
  retry.mutable_retry_delay()->set_nanos(-5);
  details.add_details()->PackFrom(retry);
  details.add_details()->set_type_url("type.googleapis.com/unknown.Type");
  const absl::Status status =
      from_grpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "why", details.SerializeAsString()));
  EXPECT_EQ(retry_after_of(status), std::chrono::hours(24));
}

}  // namespace
}  // namespace octet
