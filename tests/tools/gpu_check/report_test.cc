#include "tools/gpu_check/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace octet::gpu_check {
namespace {

using ::testing::HasSubstr;

constexpr Peaks kPeaks = {.copy_bytes_per_second = 1e12, .gemm_operations_per_second = 1e14};

TEST(GpuCheckReport, SharesAreOfTheLongerBound) {
  EXPECT_DOUBLE_EQ(share_of_peak(kPeaks, {"memory", 2e-3, 1e9, 1e10}), 0.5);
  EXPECT_DOUBLE_EQ(share_of_peak(kPeaks, {"arithmetic", 2e-3, 1e6, 1e11}), 0.5);
  EXPECT_DOUBLE_EQ(share_of_peak(kPeaks, {"nothing", 0, 1, 1}), 0);
}

TEST(GpuCheckReport, TellsWhatIsWrong) {
  Report report;
  report.device = "a GPU";
  report.checks = {{"add", ""}, {"linear", "element 3 is nan"}};
  std::ostringstream table;
  print_table(report, table);
  EXPECT_THAT(table.str(), HasSubstr("2 checks against the oracle, 1 wrong"));
  EXPECT_THAT(table.str(), HasSubstr("WRONG linear: element 3 is nan"));
}

TEST(GpuCheckReport, WritesJson) {
  Report report;
  report.device = "the \"best\" GPU";
  report.checks = {{"add", ""}};
  report.peaks = kPeaks;
  report.measurements = {{"step", 0.5, 1e9, 0}};
  std::ostringstream json;
  write_json(report, json);
  EXPECT_THAT(json.str(), HasSubstr(R"("device": "the \"best\" GPU")"));
  EXPECT_THAT(json.str(), HasSubstr(R"("measurements": [
    {"name": "step", "seconds": 0.5, "bytes": 1e+09, "operations": 0, "share": 0.002}
  ])"));
  EXPECT_THAT(json.str(), HasSubstr(R"("left_out": [])"));
}

}  // namespace
}  // namespace octet::gpu_check
