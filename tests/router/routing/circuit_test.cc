#include "router/routing/circuit.h"

#include <gtest/gtest.h>

#include "router/routing/silence.h"

namespace octet::router {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kMostRandom = ~uint64_t{0};

class CircuitTest : public testing::Test {
 protected:
  // Fails the sequences that open it, and returns for how long it is open.
  Duration open(uint64_t random = kMostRandom) {
    std::optional<Duration> open_for;
    while (!open_for) open_for = circuit_.failed(time_, random);
    return *open_for;
  }

  Circuit circuit_{{.max_failures = 3, .min_open = seconds(1), .max_open = seconds(3)}};
  Time time_ = Time(seconds(100));
};

TEST_F(CircuitTest, OpensAfterFailuresInARow) {
  EXPECT_FALSE(circuit_.failed(time_, 0));
  EXPECT_FALSE(circuit_.failed(time_, 0));
  EXPECT_FALSE(circuit_.is_clean());
  circuit_.succeeded(time_);
  EXPECT_TRUE(circuit_.is_clean());
  EXPECT_FALSE(circuit_.failed(time_, 0));
  EXPECT_FALSE(circuit_.failed(time_, 0));
  EXPECT_TRUE(circuit_.allows(time_));
  EXPECT_TRUE(circuit_.failed(time_, 0));
  EXPECT_FALSE(circuit_.allows(time_));
  EXPECT_FALSE(circuit_.is_closed());
}

TEST_F(CircuitTest, LetsProbesThroughOneAtATimeUntilOneSucceeds) {
  const Duration open_for = open();
  EXPECT_FALSE(circuit_.allows(time_ + open_for - milliseconds(1)));
  time_ += open_for;
  EXPECT_TRUE(circuit_.allows(time_));
  circuit_.started(time_);
  EXPECT_FALSE(circuit_.allows(time_)) << "the probe runs";
  EXPECT_TRUE(circuit_.allows(time_ + open_for)) << "its client may have gone away";
  circuit_.succeeded(time_);
  EXPECT_TRUE(circuit_.allows(time_));
  EXPECT_TRUE(circuit_.is_clean());
}

TEST_F(CircuitTest, IsOpenForLongerWithEveryProbeThatFails) {
  EXPECT_NEAR(octet::seconds(open()), 1, 1e-6);
  for (const double expected : {2.0, 3.0, 3.0}) {
    time_ += seconds(10);
    circuit_.started(time_);
    const auto open_for = circuit_.failed(time_, kMostRandom);
    ASSERT_TRUE(open_for);
    EXPECT_NEAR(octet::seconds(*open_for), expected, 1e-6);
    EXPECT_FALSE(circuit_.allows(time_));
  }
  time_ += seconds(10);
  circuit_.succeeded(time_);
  EXPECT_NEAR(octet::seconds(open()), 1, 1e-6) << "it begins again";
}

TEST_F(CircuitTest, HalfOfTheTimeIsRandom) {
  EXPECT_NEAR(octet::seconds(open(0)), 0.5, 1e-6);
}

TEST_F(CircuitTest, WhatRanBeforeItOpenedTellsNothing) {
  const Duration open_for = open();
  circuit_.succeeded(time_);
  EXPECT_FALSE(circuit_.allows(time_));
  EXPECT_FALSE(circuit_.failed(time_, kMostRandom));
  EXPECT_TRUE(circuit_.allows(time_ + open_for));
}

TEST(SilenceTest, LastsUntilTheTimeoutAndATickMore) {
  Silence silence;
  for (uint32_t i = 0; i < Silence::kTicks; ++i) EXPECT_FALSE(silence.tick()) << i;
  EXPECT_TRUE(silence.tick());
  EXPECT_EQ(Silence::period(seconds(16)), seconds(1));
}

TEST(SilenceTest, EndsWithNews) {
  Silence silence;
  for (uint32_t i = 0; i < Silence::kTicks; ++i) silence.tick();
  silence.news();
  for (uint32_t i = 0; i < Silence::kTicks; ++i) EXPECT_FALSE(silence.tick()) << i;
}

}  // namespace
}  // namespace octet::router
