#include "worker/engine/epoch_run.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace octet::worker {
namespace {

// Records what is sent; the test itself says what stages answer.
struct Sent {
  std::vector<std::pair<int, uint64_t>> plans;  // (stage, step)
  int num_joins = 0;
};

class RecordingClient : public StageClient {
 public:
  RecordingClient(Sent& sent, int stage) : sent_(sent), stage_(stage) {}
  void join(const JoinCommand&) override { ++sent_.num_joins; }
  void execute(std::shared_ptr<const BatchPlan> plan) override {
    sent_.plans.emplace_back(stage_, plan->step);
  }

 private:
  Sent& sent_;
  const int stage_;
};

class EpochRunTest : public testing::Test {
 protected:
  EpochRunTest() {
    EpochPlan plan;
    plan.epoch = 3;
    plan.num_blocks = 10;
    for (int i = 0; i < 2; ++i) {
      plan.stages.emplace_back();
      plan.stages.back().description.stage = i;
    }
    run_ = std::make_unique<EpochRun>(
        plan, EpochRun::Timeouts{std::chrono::seconds(30), std::chrono::seconds(10)},
        [this](const Registration& registration, std::shared_ptr<StageEvents>) {
          return std::make_unique<RecordingClient>(sent_, registration.description.stage);
        },
        nullptr, time_);
  }
  absl::StatusOr<std::optional<EpochRun::Step>> answer(int stage, uint64_t step) {
    StepResult result;
    result.step = step;
    return run_->answered(stage, result, time_);
  }
  void serve() {
    for (int stage = 0; stage < 2; ++stage) ASSERT_TRUE(run_->joined(stage, absl::OkStatus(), time_).ok());
    for (int stage = 0; stage < 2; ++stage) ASSERT_TRUE(answer(stage, 0).ok());
    ASSERT_EQ(run_->phase(), EpochRun::Phase::kServing);
    sent_.plans.clear();
  }
  void execute(uint64_t step) {
    BatchPlan plan;
    plan.step = step;
    run_->execute(std::move(plan), time_, time_);
  }

  Time time_ = Time() + std::chrono::hours(1);
  Sent sent_;
  std::unique_ptr<EpochRun> run_;
};

TEST_F(EpochRunTest, WarmsUpWhenAllHaveJoinedAndServesWhenAllHaveAnswered) {
  EXPECT_EQ(sent_.num_joins, 2);
  ASSERT_TRUE(run_->joined(1, absl::OkStatus(), time_).ok());
  EXPECT_TRUE(sent_.plans.empty());
  ASSERT_TRUE(run_->joined(0, absl::OkStatus(), time_).ok());
  EXPECT_EQ(run_->phase(), EpochRun::Phase::kWarmingUp);
  EXPECT_EQ(sent_.plans, (std::vector<std::pair<int, uint64_t>>{{1, 0}, {0, 0}}));
  ASSERT_TRUE(answer(1, 0).ok());
  EXPECT_EQ(run_->phase(), EpochRun::Phase::kWarmingUp);
  ASSERT_TRUE(answer(0, 0).ok());
  EXPECT_EQ(run_->phase(), EpochRun::Phase::kServing);
}

TEST_F(EpochRunTest, OnlyTheLastStagesAnswersAreCommitted) {
  serve();
  execute(1);
  execute(2);
  EXPECT_EQ(sent_.plans, (std::vector<std::pair<int, uint64_t>>{{1, 1}, {0, 1}, {1, 2}, {0, 2}}));
  EXPECT_FALSE(answer(0, 1)->has_value());
  EXPECT_TRUE(answer(1, 1)->has_value());
  EXPECT_TRUE(answer(1, 2)->has_value()) << "the last stage may be ahead of the first one's answer";
  EXPECT_FALSE(answer(0, 2)->has_value());
}

TEST_F(EpochRunTest, AnswersOutOfOrderOrUnaskedAreErrors) {
  EXPECT_FALSE(answer(0, 0).ok()) << "before the join";
  serve();
  EXPECT_FALSE(answer(1, 1).ok()) << "not sent";
  execute(1);
  EXPECT_FALSE(answer(1, 2).ok()) << "another step";
  EXPECT_FALSE(answer(0, 0).ok()) << "twice";
}

TEST_F(EpochRunTest, AStepsErrorIsTheReasonOfTheEnd) {
  serve();
  execute(1);
  StepResult result;
  result.step = 1;
  result.error = "stage 0: link closed";
  EXPECT_EQ(text_of(run_->answered(0, result, time_).status()), "stage 0: link closed");
}

TEST_F(EpochRunTest, TheDeadlineIsOfTheOldestStepAndRestartsWithProgress) {
  EXPECT_EQ(run_->deadline(), time_ + std::chrono::seconds(30)) << "of the join";
  serve();
  EXPECT_EQ(run_->deadline(), kNoDeadline);
  time_ += std::chrono::hours(1);  // without work
  execute(1);
  const Time first = time_;
  time_ += std::chrono::seconds(4);
  execute(2);
  EXPECT_EQ(run_->deadline(), first + std::chrono::seconds(10));
  ASSERT_TRUE(answer(1, 1).ok());
  EXPECT_EQ(run_->deadline(), time_ + std::chrono::seconds(10));
  ASSERT_TRUE(answer(1, 2).ok());
  EXPECT_EQ(run_->deadline(), kNoDeadline);
}

TEST_F(EpochRunTest, TellsWhichStagesAreWaitedFor) {
  EXPECT_EQ(run_->late_stages(), (std::vector<int>{0, 1})) << "to join";
  ASSERT_TRUE(run_->joined(0, absl::OkStatus(), time_).ok());
  EXPECT_EQ(run_->late_stages(), std::vector<int>{1});
  ASSERT_TRUE(run_->joined(1, absl::OkStatus(), time_).ok());
  ASSERT_TRUE(answer(1, 0).ok());
  EXPECT_EQ(run_->late_stages(), std::vector<int>{0}) << "to warm up";
  ASSERT_TRUE(answer(0, 0).ok());
  EXPECT_TRUE(run_->late_stages().empty());
  execute(1);
  execute(2);
  EXPECT_EQ(run_->late_stages(), (std::vector<int>{0, 1}));
  ASSERT_TRUE(answer(0, 1).ok());
  EXPECT_EQ(run_->late_stages(), std::vector<int>{1}) << "of step 1";
}

}  // namespace
}  // namespace octet::worker
