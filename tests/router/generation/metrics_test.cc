#include "router/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

namespace octet::router {
namespace {

using testing::HasSubstr;

TEST(RouterMetricsTest, EverySeriesIsThereFromTheStart) {
  RouterMetrics metrics;
  const std::string text = prometheus::TextSerializer().Serialize(metrics.registry()->Collect());
  for (const char* name :
       {"octet_requests_in_flight 0", "octet_sequences_in_flight 0", "octet_prompt_tokens_total 0",
        "octet_generated_tokens_total 0", "octet_time_to_first_token_seconds_count 0",
        "octet_inter_token_latency_seconds_count 0", "octet_request_duration_seconds_count 0",
        "octet_pipelines_ready 0", "octet_queue_tokens 0", "octet_queue_wait_seconds_count 0",
        "octet_queue_requests{priority=\"high\"} 0", "octet_queue_requests{priority=\"normal\"} 0",
        "octet_queue_requests{priority=\"low\"} 0", "octet_refusals_total{reason=\"queued_tokens\"} 0",
        "octet_refusals_total{reason=\"draining\"} 0", "octet_requests_total{api=\"grpc\",outcome=\"ok\"} 0",
        "octet_requests_total{api=\"nemo\",outcome=\"internal\"} 0"}) {
    EXPECT_THAT(text, HasSubstr(name));
  }
}

TEST(RouterMetricsTest, CountsRequestsByOutcome) {
  RouterMetrics metrics;
  metrics.count_request("openai", "overloaded");
  metrics.count_request("openai", "overloaded");
  const std::string text = prometheus::TextSerializer().Serialize(metrics.registry()->Collect());
  EXPECT_THAT(text, HasSubstr("octet_requests_total{api=\"openai\",outcome=\"overloaded\"} 2"));
}

TEST(RouterMetricsTest, InFlightIsTakenOffHoweverItEnds) {
  RouterMetrics metrics;
  {
    const InFlight three(metrics.sequences_in_flight, 3);
    EXPECT_EQ(metrics.sequences_in_flight.Value(), 3);
  }
  EXPECT_EQ(metrics.sequences_in_flight.Value(), 0);
}

}  // namespace
}  // namespace octet::router
