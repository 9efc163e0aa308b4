#include "router/tracing/spans.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/status.h"
#include "tests/router/tracing/chat_record.h"

namespace octet::router {
namespace {

using opentelemetry::proto::trace::v1::Span;
using opentelemetry::proto::trace::v1::Status;
using std::chrono::milliseconds;
using testing::ElementsAre;

constexpr const char* kParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

CallRecord traced_record() {
  CallRecord record =
      chat_record(std::chrono::system_clock::time_point(std::chrono::seconds(1'000)), milliseconds(90));
  record.parent = parse_trace_context(kParent, "a=b");
  record.span = make_span(record.parent, 0);
  record.model = "nano";
  return record;
}

std::vector<std::string> names(const std::vector<Span>& spans) {
  std::vector<std::string> names;
  for (const Span& span : spans) names.push_back(span.name());
  return names;
}

std::map<std::string, std::string> attributes(const Span& span) {
  std::map<std::string, std::string> texts;
  for (const auto& attribute : span.attributes()) {
    texts[attribute.key()] = attribute.value().has_int_value() ? std::to_string(attribute.value().int_value())
                                                               : attribute.value().string_value();
  }
  return texts;
}

TEST(SpansTest, ACallIsAChildOfItsCallersSpanAndHasItsPartsBelowIt) {
  CallRecord record = traced_record();
  record.add({.start = record.arrival + milliseconds(10),
              .first_token = record.arrival + milliseconds(40),
              .prompt_tokens = 11,
              .cached_tokens = 0,
              .output_tokens = 5,
              .finish_reasons = {"stop"}});
  const std::vector<Span> spans = spans_of(record);
  ASSERT_THAT(names(spans), ElementsAre("chat nano", "octet.queue", "octet.prefill", "octet.decode"));
  EXPECT_EQ(spans.size(), num_spans(record));
  const std::string parent_id(record.parent->span_id.begin(), record.parent->span_id.end());
  EXPECT_EQ(spans[0].parent_span_id(), parent_id);
  for (const Span& span : spans) {
    EXPECT_EQ(span.trace_id(), std::string(record.parent->trace_id.begin(), record.parent->trace_id.end()));
    EXPECT_EQ(span.trace_state(), "a=b");
    EXPECT_EQ(span.flags(), 1u);
    EXPECT_EQ(span.span_id().size(), 8u);
  }
  constexpr uint64_t kMs = 1'000'000;
  constexpr uint64_t kArrival = 1'000'000 * kMs;
  const uint64_t times[] = {0, 10, 40, 90};
  for (int part = 0; part < 3; ++part) {
    EXPECT_EQ(spans[part + 1].parent_span_id(), spans[0].span_id());
    EXPECT_EQ(spans[part + 1].start_time_unix_nano(), kArrival + times[part] * kMs);
    EXPECT_EQ(spans[part + 1].end_time_unix_nano(), kArrival + times[part + 1] * kMs);
  }
  EXPECT_EQ(spans[0].start_time_unix_nano(), kArrival);
  EXPECT_EQ(spans[0].end_time_unix_nano(), kArrival + 90 * kMs);
}

TEST(SpansTest, ACallHasTheAttributesOfTheConventions) {
  CallRecord record = traced_record();
  record.response_id = "chatcmpl-r-1";
  record.parameters = {
      .temperature = 0.5, .top_p = 0.9, .top_k = 3, .seed = 7, .max_tokens = 20, .num_choices = 2};
  record.add({.start = {},
              .first_token = {},
              .prompt_tokens = 11,
              .cached_tokens = 4,
              .output_tokens = 5,
              .finish_reasons = {"stop"}});
  const auto found = attributes(spans_of(record)[0]);
  const std::map<std::string, std::string> expected = {{"gen_ai.operation.name", "chat"},
                                                       {"gen_ai.provider.name", "octet"},
                                                       {"gen_ai.request.model", "nano"},
                                                       {"gen_ai.response.model", "nano"},
                                                       {"gen_ai.response.id", "chatcmpl-r-1"},
                                                       {"gen_ai.request.max_tokens", "20"},
                                                       {"gen_ai.request.top_k", "3"},
                                                       {"gen_ai.request.seed", "7"},
                                                       {"gen_ai.request.choice.count", "2"},
                                                       {"gen_ai.usage.input_tokens", "11"},
                                                       {"gen_ai.usage.output_tokens", "5"},
                                                       {"gen_ai.usage.cache_read.input_tokens", "4"},
                                                       {"http.request.method", "POST"},
                                                       {"url.path", "/v1/chat/completions"},
                                                       {"http.response.status_code", "200"},
                                                       {"client.address", "10.0.0.7"},
                                                       {"octet.request.id", "r-1"}};
  for (const auto& [name, value] : expected) EXPECT_EQ(found.at(name), value) << name;
  EXPECT_FALSE(found.contains("error.type"));
}

TEST(SpansTest, WhatAClientDidWrongIsNoErrorOfTheServer) {
  CallRecord record = traced_record();
  record.model.clear();
  record.http_status = 400;
  record.status = invalid_field("temperature", "secret words");
  Span span = spans_of(record).at(0);
  EXPECT_EQ(span.name(), "chat");
  EXPECT_EQ(attributes(span).at("error.type"), "INVALID_ARGUMENT");
  EXPECT_EQ(attributes(span).at("octet.error.reason"), "temperature");
  EXPECT_EQ(span.status().code(), Status::STATUS_CODE_UNSET);
  EXPECT_EQ(span.DebugString().find("secret"), std::string::npos);
  record.http_status = 503;
  record.status = absl::UnavailableError("");
  EXPECT_EQ(spans_of(record).at(0).status().code(), Status::STATUS_CODE_ERROR);
}

TEST(SpansTest, ACallThatNeverStartedHasWaitedToItsEnd) {
  CallRecord record = traced_record();
  record.add({.start = {},
              .first_token = {},
              .prompt_tokens = 3,
              .cached_tokens = 0,
              .output_tokens = 0,
              .finish_reasons = {}});
  const std::vector<Span> spans = spans_of(record);
  ASSERT_THAT(names(spans), ElementsAre("chat nano", "octet.queue"));
  EXPECT_EQ(spans[1].end_time_unix_nano(), spans[0].end_time_unix_nano());
  EXPECT_EQ(spans.size(), num_spans(record));
}

}  // namespace
}  // namespace octet::router
