#include "router/tracing/access_log_line.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "base/status.h"
#include "tests/router/tracing/chat_record.h"

namespace octet::router {
namespace {

namespace json = boost::json;

CallRecord http_record() {
  return chat_record(std::chrono::system_clock::time_point(std::chrono::milliseconds(1'769'860'800'007)),
                     std::chrono::microseconds(1'234'567));
}

json::object line_of(const CallRecord& record) {
  const std::string line = access_log_line(record);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  return json::parse(line).as_object();
}

TEST(AccessLogLineTest, TellsOfAnAnsweredRequest) {
  CallRecord record = http_record();
  record.tenant = "team";
  record.model = "org/nano";
  record.parent = parse_trace_context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "");
  record.add({.start = record.arrival + std::chrono::milliseconds(2),
              .first_token = record.arrival + std::chrono::milliseconds(30),
              .prompt_tokens = 11,
              .cached_tokens = 4,
              .output_tokens = 5,
              .finish_reasons = {"stop"}});
  EXPECT_EQ(line_of(record), json::parse(R"({
    "time": "2026-01-31T12:00:00.007Z", "request_id": "r-1", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "api": "openai", "method": "POST", "path": "/v1/chat/completions", "client": "10.0.0.7:5000", "tenant": "team",
    "model": "org/nano", "http_status": 200, "prompt_tokens": 11, "cached_tokens": 4, "output_tokens": 5,
    "finish_reasons": ["stop"], "queue_seconds": 0.002, "time_to_first_token_seconds": 0.03, "seconds": 1.234567})"));
}

TEST(AccessLogLineTest, TellsWhyARequestWasRefused) {
  CallRecord record = http_record();
  record.http_status = 429;
  record.status = quota_exceeded("queued_requests", "secret words", std::chrono::seconds(1));
  const json::object line = line_of(record);
  EXPECT_EQ(line.at("http_status"), 429);
  EXPECT_EQ(line.at("error"), "RESOURCE_EXHAUSTED");
  EXPECT_EQ(line.at("error_reason"), "queued_requests");
  EXPECT_FALSE(line.contains("prompt_tokens"));
  EXPECT_EQ(json::serialize(line).find("secret"), std::string::npos) << "a status' text stays out";
}

TEST(AccessLogLineTest, AGrpcCallHasItsStatusAndNoMethod) {
  CallRecord record = http_record();
  record.origin = {.api = "grpc",
                   .operation = "chat",
                   .method = "",
                   .path = "/octet.v1.Generation/Generate",
                   .client = "[::1]:7",
                   .request_id = "x"};
  record.http_status = 0;
  json::object line = line_of(record);
  EXPECT_EQ(line.at("grpc_status"), "OK");
  EXPECT_FALSE(line.contains("http_status") || line.contains("method") || line.contains("error"));
  record.status = absl::CancelledError("gone");
  EXPECT_EQ(line_of(record).at("grpc_status"), "CANCELLED");
}

TEST(AccessLogLineTest, APathIsWhateverAClientSendsAndTheLineStaysJson) {
  CallRecord record = http_record();
  record.origin.path = "/a\"b\\c\x01\n\xC3\xA4\xFF";
  EXPECT_EQ(line_of(record).at("path"), "/a\"b\\c%01%0A%C3%A4%FF");
}

}  // namespace
}  // namespace octet::router
