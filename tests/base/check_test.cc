#include "base/check.h"

#include <gtest/gtest.h>

namespace octet {
namespace {

TEST(CheckTest, ABrokenInvariantStopsTheProcessWithTheValues) {
  EXPECT_DEATH(OCTET_CHECK(1 + 1 == 3, "given ", 2),
               "check_test.cc:[0-9]+: check failed: 1 \\+ 1 == 3 \\(given 2\\)");
}

TEST(CheckTest, AnIntactInvariantEvaluatesItsConditionOnce) {
  int evaluations = 0;
  OCTET_CHECK(++evaluations == 1);
  EXPECT_EQ(evaluations, 1);
}

}  // namespace
}  // namespace octet
