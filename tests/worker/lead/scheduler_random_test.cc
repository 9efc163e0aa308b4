#include <gtest/gtest.h>

#include <random>

#include "tests/worker/lead/random_work.h"

namespace octet::worker {
namespace {

TEST(SchedulerRandom, EverySequenceGetsItsOwnTokensAndEndsOnce) {
  Coverage coverage;
  for (uint32_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    RandomWork([&](uint32_t end) { return static_cast<uint32_t>(random() % end); }, coverage).run(400);
    if (HasFailure()) return;
  }
  // The runs reach what they are for.
  EXPECT_GT(coverage.preemptions, 1000);
  EXPECT_GT(coverage.stopped, 1000);
  EXPECT_GT(coverage.full_length, 1000);
  EXPECT_GT(coverage.expired, 1000);
  EXPECT_GT(coverage.failed, 100);
  EXPECT_GT(coverage.cancelled_in_flight, 1000);
  EXPECT_GT(coverage.resets_in_flight, 1000);
  EXPECT_GT(coverage.prompt_logprobs, 1000);
  EXPECT_GT(coverage.cached_tokens, 10000);
  EXPECT_GT(coverage.evictions, 10000);
}

}  // namespace
}  // namespace octet::worker
