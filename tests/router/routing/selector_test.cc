#include "router/routing/selector.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace octet::router {
namespace {

std::vector<Candidate> idle(size_t num) {
  std::vector<Candidate> result;
  for (size_t i = 0; i < num; ++i) {
    result.push_back({.name = hash_of("lead-" + std::to_string(i) + ":50061"), .load = {}});
  }
  return result;
}

class SelectorTest : public testing::Test {
 protected:
  std::optional<size_t> choose(const std::vector<Candidate>& candidates, const Demand& demand = {}) {
    return select(candidates, demand, limits_, random_());
  }
  // How often each is chosen, of 10,000.
  std::map<size_t, int> choices(const std::vector<Candidate>& candidates, const Demand& demand = {}) {
    std::map<size_t, int> counts;
    for (int i = 0; i < 10'000; ++i) ++counts[choose(candidates, demand).value()];
    return counts;
  }
  // Where 1,000 sessions go.
  std::vector<size_t> homes(const std::vector<Candidate>& candidates) {
    std::vector<size_t> result;
    for (int i = 0; i < 1000; ++i) {
      Demand demand;
      demand.session = hash_of("session " + std::to_string(i));
      result.push_back(choose(candidates, demand).value());
    }
    return result;
  }

  RoomLimits limits_;
  std::mt19937_64 random_{5};
};

TEST_F(SelectorTest, RoomIsInSequencesPromptTokensAndBlocks) {
  const RoomLimits limits{.max_sequences = 4, .max_prompt_tokens = 100};
  PipelineLoad load{.num_sequences = 3, .num_prompt_tokens = 60, .num_free_tokens = std::nullopt};
  EXPECT_TRUE(has_room(load, {.num_sequences = 1, .num_prompt_tokens = 40, .session = {}}, limits));
  EXPECT_FALSE(has_room(load, {.num_sequences = 2, .num_prompt_tokens = 1, .session = {}}, limits));
  EXPECT_FALSE(has_room(load, {.num_sequences = 1, .num_prompt_tokens = 41, .session = {}}, limits));
  load.num_free_tokens = 39;
  EXPECT_FALSE(has_room(load, {.num_sequences = 1, .num_prompt_tokens = 40, .session = {}}, limits));
  EXPECT_TRUE(has_room(load, {.num_sequences = 1, .num_prompt_tokens = 39, .session = {}}, limits));
  load = {.num_sequences = 3, .num_prompt_tokens = 0, .num_free_tokens = 5000};
  EXPECT_TRUE(has_room(load, {.num_sequences = 1, .num_prompt_tokens = 5000, .session = {}}, limits))
      << "a prompt longer than the limit runs alone";
  load = {.num_sequences = 0, .num_prompt_tokens = 0, .num_free_tokens = 0};
  EXPECT_TRUE(has_room(load, {.num_sequences = 9, .num_prompt_tokens = 5000, .session = {}}, limits));
}

TEST_F(SelectorTest, NoneWithRoomIsNoChoice) {
  EXPECT_FALSE(choose({}));
  auto candidates = idle(3);
  for (Candidate& each : candidates) each.load.num_sequences = limits_.max_sequences;
  EXPECT_FALSE(choose(candidates));
  candidates[1].load.num_sequences = 1;
  EXPECT_EQ(choose(candidates), 1U);
}

TEST_F(SelectorTest, TheLessLoadedOfTwo) {
  auto candidates = idle(2);
  candidates[0].load.num_sequences = 1;
  EXPECT_EQ(choices(candidates)[1], 10'000);
  candidates[1].load.num_prompt_tokens = 65;
  EXPECT_EQ(choices(candidates)[0], 10'000);
}

TEST_F(SelectorTest, EqualsAreDrawnAlike) {
  for (const auto& [index, count] : choices(idle(4))) EXPECT_NEAR(count, 2500, 250) << index;
}

TEST_F(SelectorTest, TheLeastLoadedOfManyDoesNotGetAll) {
  auto candidates = idle(4);
  for (size_t i = 0; i < 4; ++i) candidates[i].load.num_sequences = i;
  auto counts = choices(candidates);
  EXPECT_NEAR(counts[0], 5000, 300);  // in half of all pairs
  EXPECT_EQ(counts[3], 0);            // the most loaded of any pair
}

TEST_F(SelectorTest, SessionsStayAndAreSpread) {
  const auto candidates = idle(5);
  const auto first = homes(candidates);
  EXPECT_EQ(homes(candidates), first);
  for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(std::count(first.begin(), first.end(), i), 200, 60);
}

TEST_F(SelectorTest, APipelineThatGoesMovesOnlyItsOwnSessions) {
  auto candidates = idle(5);
  const auto before = homes(candidates);
  candidates.pop_back();
  const auto after = homes(candidates);
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i] != 4) {
      EXPECT_EQ(after[i], before[i]);
    }
  }
}

TEST_F(SelectorTest, SessionsDoNotDependOnTheOrderOfPipelines) {
  auto candidates = idle(3);
  const auto before = homes(candidates);
  std::reverse(candidates.begin(), candidates.end());
  const auto after = homes(candidates);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(after[i], 2 - before[i]);
}

TEST_F(SelectorTest, AnOverloadedPipelineLosesItsSessions) {
  auto candidates = idle(3);
  const auto before = homes(candidates);
  candidates[0].load.num_sequences = 3;  // more than the others, and little
  EXPECT_EQ(homes(candidates), before);
  candidates[0].load.num_sequences = 20;
  const auto after = homes(candidates);
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i] == 0) {
      EXPECT_NE(after[i], 0U);
    } else {
      EXPECT_EQ(after[i], before[i]);
    }
  }
  for (Candidate& each : candidates) each.load.num_sequences = 20;
  EXPECT_EQ(homes(candidates), before) << "all have as much";
  candidates[1].load.num_sequences = limits_.max_sequences;
  for (const size_t home : homes(candidates)) EXPECT_NE(home, 1U);
}

TEST_F(SelectorTest, GoesWhereMostOfThePromptIsCached) {
  auto candidates = idle(3);
  candidates[1].num_cached_tokens = 64;
  candidates[2].num_cached_tokens = 16;
  EXPECT_EQ(choices(candidates)[1], 10'000);
  candidates[1].load.num_sequences = 3;  // more than the others, and little
  EXPECT_EQ(choices(candidates)[1], 10'000);
  candidates[1].load.num_sequences = 20;
  EXPECT_EQ(choices(candidates)[2], 10'000) << "the next best, when the best has too much to do";
  candidates[1].load.num_sequences = 0;
  candidates[2].num_cached_tokens = 64;
  EXPECT_NEAR(choices(candidates)[1], 5000, 300) << "equals are drawn alike";
}

TEST_F(SelectorTest, SessionsAreRankedAmongThoseWithMostCached) {
  auto candidates = idle(3);
  const auto before = homes(candidates);
  for (Candidate& each : candidates) each.num_cached_tokens = 32;  // a system prompt that all have
  EXPECT_EQ(homes(candidates), before);
  candidates[2].num_cached_tokens = 48;
  for (const size_t home : homes(candidates)) EXPECT_EQ(home, 2U);
}

}  // namespace
}  // namespace octet::router
