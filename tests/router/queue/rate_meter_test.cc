#include "router/queue/rate_meter.h"

#include <gtest/gtest.h>

namespace octet::router {
namespace {

class RateMeterTest : public testing::Test {
 protected:
  void pass(double num_seconds) {
    time_ += std::chrono::duration_cast<Duration>(std::chrono::duration<double>(num_seconds));
  }
  // Adds per_second for num_seconds, in steps of 10 ms.
  void work(double per_second, double num_seconds) {
    for (int i = 0; i < static_cast<int>(num_seconds * 100); ++i) {
      pass(0.01);
      meter_.add(per_second / 100, time_);
    }
  }

  Time time_ = Time(std::chrono::hours(1));
  RateMeter meter_;
};

TEST_F(RateMeterTest, IsUnknownBeforeASecondOfWork) {
  EXPECT_FALSE(meter_.per_second(time_));
  meter_.set_busy(true, time_);
  work(1000, 0.5);
  EXPECT_FALSE(meter_.per_second(time_));
  work(1000, 1);
  ASSERT_TRUE(meter_.per_second(time_));
  EXPECT_NEAR(*meter_.per_second(time_), 1000, 20);
}

TEST_F(RateMeterTest, IdleTimeDoesNotLowerIt) {
  meter_.set_busy(true, time_);
  work(500, 10);
  meter_.set_busy(false, time_);
  pass(8);
  ASSERT_TRUE(meter_.per_second(time_));
  EXPECT_NEAR(*meter_.per_second(time_), 500, 10);
}

TEST_F(RateMeterTest, FollowsChanges) {
  meter_.set_busy(true, time_);
  work(100, 30);
  work(1000, 30);
  EXPECT_NEAR(*meter_.per_second(time_), 1000, 100);
}

TEST_F(RateMeterTest, OldWorkIsForgotten) {
  meter_.set_busy(true, time_);
  work(100, 30);
  meter_.set_busy(false, time_);
  pass(60);
  EXPECT_FALSE(meter_.per_second(time_));
}

TEST_F(RateMeterTest, NothingDoneIsNoRate) {
  meter_.set_busy(true, time_);
  pass(100);
  EXPECT_FALSE(meter_.per_second(time_));
}

}  // namespace
}  // namespace octet::router
