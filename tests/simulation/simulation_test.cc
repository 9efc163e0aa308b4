// What must hold in every run, that a run is what its seed says, and that a fault in the code would be seen.
#include <gtest/gtest.h>

#include <string>

#include "tests/simulation/world.h"

namespace octet::simulation {
namespace {

const Installation& installation() {
  static const Installation loaded = Installation::load("deploy/nano/tokenizer.model");
  return loaded;
}

TEST(Simulation, HoldsOnManySeedsAndTheyMeetEverything) {
  constexpr uint64_t kNumSeeds = 2000;
  Tally tally;
  for (uint64_t seed = 0; seed < kNumSeeds; ++seed) {
    const RunResult result = run_seed(seed, installation(), {});
    ASSERT_FALSE(result.violation) << "octet-simulate --trace --seed " << seed << "\n" << *result.violation;
    tally.add(result.tally);
  }
  EXPECT_EQ(tally.num_runs, kNumSeeds);
  for (size_t i = static_cast<size_t>(Outcome::kWhole); i < std::size(tally.num_calls); ++i) {
    if (i == static_cast<size_t>(Outcome::kFailed)) continue;  // a violation
    EXPECT_GT(tally.num_calls[i], kNumSeeds / 20) << "outcome " << i;
  }
  for (int i = 0; i < kNumFaults; ++i) {
    EXPECT_GT(tally.num_faults[i], kNumSeeds / 20) << name_of(static_cast<Fault>(i));
  }
  EXPECT_GT(tally.num_tokens, kNumSeeds * 200);
  EXPECT_GT(tally.num_epochs, kNumSeeds * 3);
  EXPECT_GT(tally.num_preemptions, kNumSeeds);
  EXPECT_GT(tally.num_prefix_hit_tokens, kNumSeeds * 50);
}

TEST(Simulation, RepeatsASeed) {
  for (const uint64_t seed : {1, 17, 42}) {
    const RunResult first = run_seed(seed, installation(), {});
    const RunResult second = run_seed(seed, installation(), {});
    EXPECT_EQ(first.digest, second.digest) << "seed " << seed;
    EXPECT_EQ(first.tally.num_events, second.tally.num_events);
    EXPECT_NE(first.digest, run_seed(seed + 1, installation(), {}).digest);
  }
}

// A stage that died while it joined once kept its neighbour's executor connecting until the join's timeout.
TEST(Simulation, IsReadySoonAfterLaterStagesDied) {
  for (uint64_t seed = 100; seed < 200; ++seed) {
    for (const Fault fault : {Fault::kKillStage, Fault::kResetStage}) {
      const RunResult result = run_seed(seed, installation(), {.broken = Break::kNone, .only = fault});
      EXPECT_FALSE(result.violation) << "seed " << seed << " --only " << name_of(fault) << ": "
                                     << *result.violation;
      EXPECT_LT(result.tally.longest_recovery, std::chrono::seconds(4))
          << "seed " << seed << " " << name_of(fault);
    }
  }
}

class BrokenSimulation : public testing::TestWithParam<BreakName> {};

TEST_P(BrokenSimulation, IsSeenWithinTwentySeeds) {
  std::string violation;
  for (uint64_t seed = 0; seed < 20 && violation.empty(); ++seed) {
    violation =
        run_seed(seed, installation(), {.broken = GetParam().which, .only = {}}).violation.value_or("");
  }
  EXPECT_NE(violation, "");
}

INSTANTIATE_TEST_SUITE_P(Breaks, BrokenSimulation, testing::ValuesIn(kBreaks), [](const auto& instance) {
  std::string name(instance.param.name);
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

}  // namespace
}  // namespace octet::simulation
