#include "router/tracing/call_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"

namespace octet::router {
namespace {

using testing::ElementsAre;

constexpr const char* kParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

class FakeSink final : public CallSink {
 public:
  void take(std::shared_ptr<const CallRecord> record) override { records.push_back(std::move(record)); }
  std::vector<std::shared_ptr<const CallRecord>> records;
};

TEST(CallRecorderTest, ARecordIsTakenOnceWhenTheLastLetsGoOfIt) {
  FakeSink first;
  FakeSink second;
  const CallRecorder calls({}, {&first, &second});
  auto record = calls.begin({}, "", "");
  auto also = record;
  record->http_status = 200;
  record.reset();
  EXPECT_TRUE(first.records.empty());
  also.reset();
  ASSERT_EQ(first.records.size(), 1u);
  EXPECT_EQ(first.records[0]->http_status, 200);
  EXPECT_TRUE(first.records[0]->end_time);
  EXPECT_EQ(second.records, first.records);
}

TEST(CallRecorderTest, TheFirstEndCounts) {
  FakeSink sink;
  const CallRecorder calls({}, {&sink});
  const Time end = now() + std::chrono::seconds(5);
  {
    const auto record = calls.begin({}, "", "");
    record->end(end);
    record->end(end + std::chrono::seconds(1));
  }
  EXPECT_EQ(sink.records.at(0)->end_time, end);
}

TEST(CallRecorderTest, CallsGetASpanOnlyWhenTheyAreTraced) {
  FakeSink sink;
  const CallRecorder logs({.traces = false, .sample_ratio = 1}, {&sink});
  const auto untraced = logs.begin({}, kParent, "a=b");
  EXPECT_FALSE(untraced->span);
  ASSERT_NE(context_of(*untraced), nullptr);
  EXPECT_EQ(traceparent_of(*context_of(*untraced)), kParent) << "passed on as it came";
  EXPECT_EQ(context_of(*logs.begin({}, "broken", "")), nullptr);

  const CallRecorder traces({.traces = true, .sample_ratio = 0}, {&sink});
  const auto traced = traces.begin({}, kParent, "a=b");
  ASSERT_TRUE(traced->span);
  EXPECT_EQ(context_of(*traced), &*traced->span);
  EXPECT_EQ(traced->span->trace_id, traced->parent->trace_id);
  EXPECT_TRUE(traced->span->sampled);
  EXPECT_EQ(traced->span->state, "a=b");
}

TEST(CallRecordTest, SumsItsPromptsAndKeepsTheFirstTimes) {
  const Time begin = now();
  const auto at = [&](int s) { return begin + std::chrono::seconds(s); };
  CallRecord record;
  record.add({.start = at(3),
              .first_token = std::nullopt,
              .prompt_tokens = 5,
              .cached_tokens = 1,
              .output_tokens = 0,
              .finish_reasons = {}});
  record.add({.start = at(2),
              .first_token = at(7),
              .prompt_tokens = 6,
              .cached_tokens = 0,
              .output_tokens = 9,
              .finish_reasons = {"stop", "length"}});
  record.add({.start = std::nullopt,
              .first_token = std::nullopt,
              .prompt_tokens = 7,
              .cached_tokens = 2,
              .output_tokens = 1,
              .finish_reasons = {"stop"}});
  ASSERT_TRUE(record.generation);
  EXPECT_EQ(record.generation->start, at(2));
  EXPECT_EQ(record.generation->first_token, at(7));
  EXPECT_EQ(record.generation->prompt_tokens, 18u);
  EXPECT_EQ(record.generation->cached_tokens, 3u);
  EXPECT_EQ(record.generation->output_tokens, 10u);
  EXPECT_THAT(record.generation->finish_reasons, ElementsAre("stop", "length", "stop"));
}

TEST(CallRecordTest, AnErrorHasATypeAndNamesItsFieldOrLimit) {
  CallRecord record;
  record.http_status = 200;
  EXPECT_EQ(record.error_type(), "");
  EXPECT_EQ(record.error_reason(), "");
  record.http_status = 404;
  EXPECT_EQ(record.error_type(), "404");
  record.status = invalid_field("temperature", "too hot");
  EXPECT_EQ(record.error_type(), "INVALID_ARGUMENT");
  EXPECT_EQ(record.error_reason(), "temperature");
  record.status = quota_exceeded("queued_requests", "full", std::chrono::seconds(1));
  EXPECT_EQ(record.error_type(), "RESOURCE_EXHAUSTED");
  EXPECT_EQ(record.error_reason(), "queued_requests");
}

TEST(CallRecordTest, TimesAreTheWallClocksAtArrivalPlusWhatPassedSince) {
  CallRecord record;
  record.unix_arrival = std::chrono::system_clock::time_point(std::chrono::seconds(1'000'000'000));
  EXPECT_EQ(record.unix_nanoseconds(record.arrival), 1'000'000'000'000'000'000u);
  EXPECT_EQ(record.unix_nanoseconds(record.arrival + std::chrono::nanoseconds(7)),
            1'000'000'000'000'000'007u);
}

}  // namespace
}  // namespace octet::router
