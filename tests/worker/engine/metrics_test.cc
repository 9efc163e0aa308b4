#include "worker/metrics.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

namespace octet::worker {
namespace {

TEST(WorkerMetricsTest, AStepAddsToItsStagesSeriesInBaseUnits) {
  WorkerMetrics metrics({0, 1});
  StepTiming timing;
  timing.compute_ns = 1'500'000'000;
  timing.sent_bytes = 4096;
  metrics.record_stage_step(1, timing);
  metrics.record_stage_step(7, timing);  // not one of ours
  metrics.count_ended("stop");
  const std::string text = prometheus::TextSerializer().Serialize(metrics.registry()->Collect());
  EXPECT_NE(text.find("octet_stage_compute_seconds_total{stage=\"1\"} 1.5\n"), std::string::npos) << text;
  EXPECT_NE(text.find("octet_stage_compute_seconds_total{stage=\"0\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("octet_handoff_bytes_total{stage=\"1\"} 4096\n"), std::string::npos);
  EXPECT_NE(text.find("octet_sequences_ended_total{reason=\"stop\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("octet_sequences_ended_total{reason=\"deadline\"} 0\n"), std::string::npos);
  EXPECT_EQ(text.find("stage=\"7\""), std::string::npos);
}

}  // namespace
}  // namespace octet::worker
