#include "router/tracing/trace_context.h"

#include <gtest/gtest.h>

#include <set>

namespace octet::router {
namespace {

constexpr const char* kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr const char* kSpan = "00f067aa0ba902b7";

std::string traceparent(const std::string& version, const std::string& flags, const std::string& more = "") {
  return version + "-" + kTrace + "-" + kSpan + "-" + flags + more;
}

TEST(TraceContextTest, ReadsWhatTheSpecificationTakes) {
  struct Case {
    std::string header;
    bool sampled;
  };
  for (const auto& [header, sampled] :
       {Case{traceparent("00", "01"), true}, Case{traceparent("00", "00"), false},
        Case{traceparent("00", "fe"), false}, Case{traceparent("00", "03"), true},
        // A later version may have more flags and more fields.
        Case{traceparent("01", "01"), true}, Case{traceparent("cc", "01", "-what-comes-later"), true}}) {
    const auto context = parse_trace_context(header, "");
    ASSERT_TRUE(context) << header;
    EXPECT_EQ(hex(context->trace_id), kTrace);
    EXPECT_EQ(hex(context->span_id), kSpan);
    EXPECT_EQ(context->sampled, sampled) << header;
  }
}

TEST(TraceContextTest, IgnoresWhatTheSpecificationHasIgnored) {
  const std::string good = traceparent("00", "01");
  for (const std::string& header :
       {std::string(), std::string("00"), good.substr(0, good.size() - 1), good + "0", good + "-00",
        traceparent("cc", "01", "."), traceparent("ff", "01"), traceparent("0g", "01"),
        traceparent("00", "0g"), std::string("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"),
        "00-" + std::string(32, '0') + "-00f067aa0ba902b7-01",
        std::string("00-") + kTrace + "-" + std::string(16, '0') + "-01",
        std::string("00_") + kTrace + "-" + kSpan + "-01", std::string("00-") + kTrace + "_" + kSpan + "-01",
        std::string("00-") + kTrace + "-" + kSpan + "_01", good + "," + good, " " + good}) {
    EXPECT_FALSE(parse_trace_context(header, "")) << header;
  }
}

TEST(TraceContextTest, KeepsTheStateThatIsWholeAndLeavesOutTheRest) {
  const std::string parent = traceparent("00", "01");
  const auto state = [&](const std::string& header) { return parse_trace_context(parent, header)->state; };
  EXPECT_EQ(state("congo=t61rcWkgMzE, rojo=00f067aa0ba902b7 ,,1a-_*/@b=x y"),
            "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7,1a-_*/@b=x y");
  for (const std::string& broken :
       {std::string("a"), std::string("=b"), std::string("a="), std::string("A=b"), std::string("a=b=c"),
        std::string("a=b\x01"), std::string("a=\xC3\xA4"), std::string(257, 'a') + "=b",
        "a=" + std::string(257, 'b')}) {
    EXPECT_EQ(state("ok=1," + broken), "") << broken;
  }
  std::string entries;
  for (int i = 0; i < 32; ++i) entries += "a=b,";
  EXPECT_NE(state(entries), "");
  EXPECT_EQ(state(entries + "a=b"), "") << "at most 32 entries";
  const std::string first = "a=" + std::string(250, 'x');
  const std::string second = "b=" + std::string(250, 'y');
  EXPECT_EQ(state(first + "," + second + ",c=" + std::string(20, 'z') + ",d=1"), first + "," + second)
      << "whole entries from the end, down to 512 bytes";
}

TEST(TraceContextTest, WhatIsWrittenIsReadBack) {
  for (const char* flags : {"00", "01"}) {
    EXPECT_EQ(traceparent_of(*parse_trace_context(traceparent("00", flags), "")), traceparent("00", flags));
  }
  EXPECT_EQ(traceparent_of(*parse_trace_context(traceparent("42", "ff", "-x"), "")), traceparent("00", "01"));
}

TEST(TraceContextTest, AChildKeepsItsParentsTraceStateAndSampling) {
  for (const char* flags : {"00", "01"}) {
    const auto parent = parse_trace_context(traceparent("00", flags), "a=b");
    for (const double ratio : {0.0, 1.0}) {
      const TraceContext child = make_span(parent, ratio);
      EXPECT_EQ(child.trace_id, parent->trace_id);
      EXPECT_NE(child.span_id, parent->span_id);
      EXPECT_EQ(child.sampled, parent->sampled) << "the ratio is for those without a parent";
      EXPECT_EQ(child.state, "a=b");
    }
  }
}

TEST(TraceContextTest, NewTracesDifferAndAreSampledByTheRatio) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(make_span(std::nullopt, 1).sampled);
    const TraceContext unsampled = make_span(std::nullopt, 0);
    EXPECT_FALSE(unsampled.sampled);
    EXPECT_TRUE(parse_trace_context(traceparent_of(unsampled), ""));
    seen.insert(hex(unsampled.trace_id));
    seen.insert(hex(unsampled.span_id));
  }
  EXPECT_EQ(seen.size(), 200u);
}

TEST(TraceContextTest, TheSameTraceIsSampledEverywhere) {
  TraceId id{};
  id[9] = 0x40;  // the highest of the 56 bits that count: a quarter of their range
  EXPECT_TRUE(is_sampled(id, 0.26));
  EXPECT_FALSE(is_sampled(id, 0.25));
  id[0] = 0xFF;
  id[8] = 0xFF;
  EXPECT_TRUE(is_sampled(id, 0.26)) << "other bits do not count";
  int num_sampled = 0;
  for (int i = 0; i < 2000; ++i) num_sampled += is_sampled(make_span(std::nullopt, 0).trace_id, 0.25) ? 1 : 0;
  EXPECT_GT(num_sampled, 400);
  EXPECT_LT(num_sampled, 600);
}

}  // namespace
}  // namespace octet::router
