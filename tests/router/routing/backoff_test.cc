#include "router/routing/backoff.h"

#include <gtest/gtest.h>

namespace octet::router {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kMostRandom = ~uint64_t{0};

TEST(BackoffTest, DoublesUpToItsMostAndIsHalfRandom) {
  const Backoff backoff{.min = milliseconds(100), .max = milliseconds(1000)};
  EXPECT_EQ(backoff.delay(1, 0), milliseconds(50));
  EXPECT_GT(backoff.delay(1, kMostRandom), milliseconds(99));
  EXPECT_LE(backoff.delay(1, kMostRandom), milliseconds(100));
  EXPECT_EQ(backoff.delay(4, 0), milliseconds(400));
  EXPECT_EQ(backoff.delay(5, 0), milliseconds(500));
  EXPECT_EQ(backoff.delay(4'000'000'000, 0), milliseconds(500));
}

}  // namespace
}  // namespace octet::router
