#include "router/generation/moves.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "router/generation/decode_pace.h"

namespace octet::router {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using Verdict = Moves::Verdict;

constexpr uint64_t kMostRandom = ~uint64_t{0};

class MovesTest : public testing::Test {
 protected:
  MovesTest() {
    limits_.wait = seconds(60);
    limits_.max_in_a_row = 3;
    limits_.backoff = {.min = milliseconds(100), .max = milliseconds(1000)};
    limits_.retries = {.ratio = 0.5, .most = 2};
  }
  Moves& moves() {
    if (!moves_) moves_.emplace(limits_);
    return *moves_;
  }
  Verdict lose(uint64_t request, uint32_t choice = 0, int32_t priority = 0) {
    return moves().leave({.id = {request, choice}, .priority = priority, .reason = MoveReason::kLost}, time_,
                         0);
  }
  Verdict fail(uint64_t request, uint32_t num_in_a_row = 1, uint64_t random = kMostRandom) {
    return moves().leave(
        {.id = {request, 0}, .reason = MoveReason::kFailed, .answered = true, .num_in_a_row = num_in_a_row},
        time_, random);
  }
  // Those that go on now, in order, as long as there is room.
  std::vector<uint64_t> take_all() {
    std::vector<uint64_t> result;
    while (const auto id = moves().next(time_)) {
      result.push_back(id->request);
      moves().remove(*id);
    }
    return result;
  }

  MoveLimits limits_;
  std::optional<Moves> moves_;
  Time time_ = Time(seconds(1000));
};

TEST_F(MovesTest, LostSequencesGoOnAtOnceByPriorityAndAge) {
  lose(7, 1);
  lose(3);
  lose(7, 0);
  lose(9, 0, -1);
  EXPECT_EQ(moves().size(), 4U);
  EXPECT_EQ(moves().next(time_), (Moves::Id{9, 0}));
  EXPECT_EQ(moves().next(time_), (Moves::Id{9, 0})) << "it waits until it is taken out";
  EXPECT_THAT(take_all(), ElementsAre(9, 3, 7, 7));
  EXPECT_TRUE(moves().empty());
}

TEST_F(MovesTest, LossesCostNoRetries) {
  for (uint64_t i = 0; i < 1000; ++i) EXPECT_EQ(lose(i), Verdict::kMoves);
}

TEST_F(MovesTest, WhatALeadAnsweredIsTriedAgainLaterAndLater) {
  fail(1);
  EXPECT_FALSE(moves().next(time_));
  EXPECT_FALSE(moves().empty());
  EXPECT_EQ(moves().next_time(), time_ + milliseconds(100));
  lose(2);
  EXPECT_THAT(take_all(), ElementsAre(2)) << "others do not wait for it";
  time_ += milliseconds(100);
  EXPECT_THAT(take_all(), ElementsAre(1));
  fail(1, 3, 0);
  EXPECT_EQ(moves().next_time(), time_ + milliseconds(200)) << "half of 400 ms at random";
}

TEST_F(MovesTest, SequenceThatTakesEveryPipelineWithItIsGivenUp) {
  const auto lose_again = [&](uint32_t num) {
    return moves().leave({.id = {1, 0}, .reason = MoveReason::kLost, .num_in_a_row = num}, time_, 0);
  };
  EXPECT_EQ(lose_again(3), Verdict::kMoves);
  take_all();
  EXPECT_EQ(lose_again(4), Verdict::kTooOften);
  EXPECT_TRUE(moves().empty());
}

TEST_F(MovesTest, RetriesAreAShareOfWhatEndsWell) {
  EXPECT_EQ(fail(1), Verdict::kMoves);
  EXPECT_EQ(fail(2), Verdict::kMoves);
  EXPECT_EQ(fail(3), Verdict::kNoBudget);
  moves().succeeded();
  EXPECT_EQ(fail(3), Verdict::kNoBudget);
  moves().succeeded();
  EXPECT_EQ(fail(3), Verdict::kMoves);
  for (int i = 0; i < 100; ++i) moves().succeeded();
  EXPECT_EQ(fail(4), Verdict::kMoves);
  EXPECT_EQ(fail(5), Verdict::kMoves);
  EXPECT_EQ(fail(6), Verdict::kNoBudget) << "nobody saves up";
}

TEST_F(MovesTest, WaitsForAPipelineUpToTheLimit) {
  lose(1);
  time_ += seconds(100);
  EXPECT_THAT(moves().expire(time_), IsEmpty()) << "pipelines are there, and full";
  EXPECT_EQ(moves().next_time(), kNoDeadline);
  moves().set_no_pipeline(true, time_);
  time_ += seconds(30);
  lose(2);
  moves().set_no_pipeline(true, time_);
  EXPECT_EQ(moves().next_time(), time_ + seconds(30));
  EXPECT_THAT(moves().expire(time_ + seconds(30) - milliseconds(1)), IsEmpty());
  EXPECT_THAT(moves().expire(time_ + seconds(30)), ElementsAre(Moves::Id{1, 0}));
  EXPECT_EQ(moves().size(), 1U);
  moves().set_no_pipeline(false, time_);
  EXPECT_THAT(moves().expire(time_ + seconds(1000)), IsEmpty());
}

TEST_F(MovesTest, RequestThatEndsTakesAllItsChoicesWithIt) {
  lose(1);
  lose(2, 0);
  lose(2, 5);
  lose(3);
  moves().remove_request(2);
  moves().remove_request(99);
  moves().remove({3, 7});
  EXPECT_THAT(take_all(), ElementsAre(1, 3));
  lose(2);
  EXPECT_THAT(take_all(), ElementsAre(2));
}

TEST(DecodePaceTest, TellsWhatFitsIntoHalfOfTheTime) {
  const Time start(seconds(5));
  DecodePace pace;
  EXPECT_FALSE(pace.fits(1, start, start + seconds(1000))) << "nothing is known yet";
  pace.add(1, start);
  EXPECT_FALSE(pace.fits(1, start, start + seconds(1000)));
  pace.add(2, start + milliseconds(100));
  pace.add(2, start + milliseconds(200));  // 50 ms a token
  const Time time = start + seconds(1);
  EXPECT_TRUE(pace.fits(100, time, time + seconds(10)));
  EXPECT_FALSE(pace.fits(101, time, time + seconds(10)));
  EXPECT_FALSE(pace.fits(1, time, time));
  EXPECT_FALSE(pace.fits(0, time, time - seconds(1)));
}

}  // namespace
}  // namespace octet::router
