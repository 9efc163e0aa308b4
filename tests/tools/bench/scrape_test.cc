#include "tools/bench/scrape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/tools/bench/unanswered_port.h"

namespace octet::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

constexpr char kPage[] = R"(# HELP wait_seconds Waiting.
# TYPE wait_seconds histogram
wait_seconds_count 4
wait_seconds_sum 5.5
wait_seconds_bucket{le="1"} 2
wait_seconds_bucket{le="2"} 4
wait_seconds_bucket{le="+Inf"} 4
wait_seconds_more_bucket{le="1"} 9
# TYPE step_seconds histogram
step_seconds_bucket{phase="plan",le="0.5"} 1
step_seconds_bucket{phase="plan",le="+Inf"} 1
step_seconds_bucket{le="0.5",phase="commit"} 3
step_seconds_bucket{le="+Inf",phase="commit"} 3
other_total 7
)";

TEST(Scrape, ReadsTheHistogramsAskedFor) {
  const absl::StatusOr<Histograms> histograms =
      parse_histograms(kPage, {"wait_seconds", "step_seconds", "none"});
  ASSERT_TRUE(histograms.ok()) << histograms.status();
  ASSERT_EQ(histograms->size(), 3u);
  EXPECT_THAT(histograms->at("wait_seconds").buckets, ElementsAre(Pair(1, 2), Pair(2, 4), Pair(INFINITY, 4)));
  EXPECT_EQ(histograms->at("step_seconds{phase=\"plan\"}").count(), 1u);
  EXPECT_EQ(histograms->at("step_seconds{phase=\"commit\"}").count(), 3u);
}

TEST(Scrape, NamesALineThatIsNoBucket) {
  for (const char* line :
       {"a_bucket{le=\"x\"} 1", "a_bucket{le=\"1\"} x", "a_bucket{le=\"1\" 1", "a_bucket{} 1"}) {
    const absl::StatusOr<Histograms> histograms = parse_histograms(line, {"a"});
    ASSERT_FALSE(histograms.ok()) << line;
    EXPECT_THAT(std::string(histograms.status().message()), HasSubstr(line));
  }
}

TEST(Scrape, QuantileIsLinearWithinABucket) {
  Histogram histogram{{{1, 2}, {2, 2}, {4, 6}, {INFINITY, 7}}};
  EXPECT_DOUBLE_EQ(*histogram.quantile(1.0 / 7), 0.5);
  EXPECT_DOUBLE_EQ(*histogram.quantile(4.0 / 7), 3);  // half of the four between 2 and 4
  EXPECT_DOUBLE_EQ(*histogram.quantile(1), 4);        // past the last bound nothing is known
  EXPECT_FALSE(Histogram().quantile(0.5).has_value());
  EXPECT_FALSE((Histogram{{{1, 0}, {INFINITY, 0}}}).quantile(0.5).has_value());
}

TEST(Scrape, DifferenceIsWhatHappenedBetween) {
  const Histograms before{{"a", Histogram{{{1, 5}, {INFINITY, 6}}}}};
  const Histograms after{{"a", Histogram{{{1, 7}, {INFINITY, 9}}}},
                         {"new", Histogram{{{1, 1}, {INFINITY, 1}}}}};
  const Histograms between = difference(before, after);
  EXPECT_THAT(between.at("a").buckets, ElementsAre(Pair(1, 2), Pair(INFINITY, 3)));
  EXPECT_EQ(between.at("new").count(), 1u);
}

TEST(Scrape, RefusesWhatIsNoUrl) {
  for (const char* url :
       {"", "localhost:1/metrics", "https://localhost:1/", "http://localhost/metrics", "http://:1/"}) {
    EXPECT_EQ(http_get(url, std::chrono::seconds(1)).status().code(), absl::StatusCode::kInvalidArgument)
        << url;
  }
}

TEST(Scrape, NamesTheUrlThatDoesNotAnswer) {
  const UnansweredPort port;
  const std::string url = "http://127.0.0.1:" + port.text() + "/metrics";
  const absl::Status status = http_get(url, std::chrono::seconds(20)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(url + ": "));
}

}  // namespace
}  // namespace octet::bench
