#include "worker/engine/formation.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/status.h"

namespace octet::worker {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class FormationTest : public testing::Test {
 protected:
  static StageDescription stage(int index) {
    StageDescription description;
    description.stage = index;
    description.num_stages = 3;
    description.num_ranks = 2;
    description.layers = {index * 4, index * 4 + 4};
    description.num_blocks = 100 + static_cast<uint32_t>(index);
    description.block_size = 16;
    description.max_batch_tokens = 512;
    description.arithmetic = "--weights bf16";
    description.model_digest = "abc";
    description.backend = "cpu";
    return description;
  }
  static Registration registration(int index) { return {stage(index), "host:1", "host:2"}; }

  absl::Status add(const StageDescription& description) {
    return formation_.register_stage({description, "host:1", "host:2"}, time_);
  }
  void add_all() {
    EXPECT_TRUE(add(stage(1)).ok());
    EXPECT_TRUE(add(stage(2)).ok());
  }

  Time time_ = Time() + std::chrono::hours(1);
  Formation formation_{stage(0), {{0, 4}, {4, 8}, {8, 12}}, {}};
};

TEST_F(FormationTest, BeginsWhenEveryStageIsThereWithTheFewestBlocks) {
  EXPECT_EQ(formation_.missing(time_), (std::vector<int>{1, 2}));
  EXPECT_FALSE(formation_.begin(time_));
  ASSERT_TRUE(add(stage(2)).ok());
  EXPECT_FALSE(formation_.begin(time_));
  StageDescription small = stage(1);
  small.num_blocks = 60;
  ASSERT_TRUE(add(small).ok());
  const auto plan = formation_.begin(time_);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->epoch, 1u);
  EXPECT_EQ(plan->num_blocks, 60u);
  ASSERT_EQ(plan->stages.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(plan->stages[static_cast<size_t>(i)].description.stage, i);
  EXPECT_FALSE(formation_.begin(time_)) << "an epoch is in force";
}

TEST_F(FormationTest, ALeadAloneNeedsNobody) {
  StageDescription lead = stage(0);
  lead.num_stages = 1;
  Formation alone(lead, {{0, 12}}, {});
  EXPECT_TRUE(alone.begin(time_));
}

TEST_F(FormationTest, RefusesEveryDifferenceByName) {
  const std::pair<std::function<void(StageDescription&)>, const char*> cases[] = {
      {[](auto& s) { s.wire_version = 9; }, "stage 1 has wire version 9, the lead 3"},
      {[](auto& s) { s.num_stages = 4; }, "stage 1 has --stages 4, the lead 3"},
      {[](auto& s) { s.stage = 0; }, "stage 0 is not one of the stages 1 to 2 that the lead waits for"},
      {[](auto& s) { s.stage = 3; }, "stage 3 is not one of the stages 1 to 2 that the lead waits for"},
      {[](auto& s) { s.stage = -1; }, "stage -1 is not one of the stages 1 to 2 that the lead waits for"},
      {[](auto& s) { s.model_digest = "xyz"; }, "stage 1 has model digest xyz, the lead abc"},
      {[](auto& s) { s.num_ranks = 1; }, "stage 1 has --tp 1, the lead 2"},
      {[](auto& s) { s.block_size = 8; }, "stage 1 has --block-size 8, the lead 16"},
      {[](auto& s) { s.backend = "cuda"; }, "stage 1 has --backend cuda, the lead cpu"},
      {[](auto& s) { s.arithmetic = "--weights int8"; },
       "stage 1 runs with --weights int8, the lead with --weights bf16"},
      {[](auto& s) { s.max_batch_tokens = 256; }, "stage 1 has --max-batch-tokens 256, the lead 512"},
      {[](auto& s) {
         s.layers = {3, 8};
       },
       "stage 1 has layers 3 to 7, the lead expects 4 to 7 (--layers-per-stage)"},
      {[](auto& s) { s.num_blocks = 0; },
       "stage 1 has 0 KV cache blocks, the pipeline runs with 1 (--kv-cache-mib)"},
  };
  for (const auto& [change, message] : cases) {
    StageDescription description = stage(1);
    change(description);
    const absl::Status status = add(description);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << message;
    EXPECT_EQ(text_of(status), message);
  }
  EXPECT_EQ(formation_.missing(time_), (std::vector<int>{1, 2}));
}

TEST_F(FormationTest, AStageMayTakeMoreRowsThanTheLeadPlans) {
  StageDescription description = stage(1);
  description.max_batch_tokens = 1024;
  EXPECT_TRUE(add(description).ok());
}

TEST_F(FormationTest, ForgetsAStageThatStopsRegistering) {
  add_all();
  time_ += seconds(2);
  ASSERT_TRUE(add(stage(2)).ok());
  time_ += seconds(2);
  EXPECT_EQ(formation_.missing(time_), (std::vector<int>{1}));
  EXPECT_FALSE(formation_.begin(time_));
  ASSERT_TRUE(add(stage(1)).ok());
  EXPECT_TRUE(formation_.begin(time_));
}

TEST_F(FormationTest, EpochsRiseAlsoOverTheLeadsOwnRestart) {
  StageDescription veteran = stage(1);
  veteran.last_epoch = 41;
  ASSERT_TRUE(add(veteran).ok());
  ASSERT_TRUE(add(stage(2)).ok());
  EXPECT_EQ(formation_.begin(time_)->epoch, 42u);
  formation_.ended(time_);
  time_ += seconds(1);
  add_all();
  EXPECT_EQ(formation_.begin(time_)->epoch, 43u);
}

TEST_F(FormationTest, AfterAFailureEveryStageRegistersAgain) {
  add_all();
  ASSERT_TRUE(formation_.begin(time_));
  formation_.ended(time_);
  time_ += seconds(1);
  EXPECT_EQ(formation_.missing(time_), (std::vector<int>{1, 2}));
}

TEST_F(FormationTest, EveryEpochHasTheBlocksOfTheFirstAndAReplacementMustHoldThem) {
  StageDescription small = stage(1);
  small.num_blocks = 60;
  ASSERT_TRUE(add(small).ok());
  ASSERT_TRUE(add(stage(2)).ok());
  ASSERT_EQ(formation_.begin(time_)->num_blocks, 60u);
  formation_.ended(time_);
  time_ += seconds(1);
  small.num_blocks = 59;
  EXPECT_EQ(text_of(add(small)),
            "stage 1 has 59 KV cache blocks, the pipeline runs with 60 (--kv-cache-mib)");
  small.num_blocks = 80;
  ASSERT_TRUE(add(small).ok());
  ASSERT_TRUE(add(stage(2)).ok());
  EXPECT_EQ(formation_.begin(time_)->num_blocks, 60u);
}

TEST_F(FormationTest, WaitsLongerAfterEachFailureInARowAndNotAfterWork) {
  Duration expected = milliseconds(100);
  for (int failure = 0; failure < 10; ++failure) {
    add_all();
    ASSERT_TRUE(formation_.begin(time_));
    formation_.ended(time_);
    EXPECT_EQ(formation_.retry_time() - time_, expected) << failure;
    add_all();
    EXPECT_FALSE(formation_.begin(time_));
    time_ = formation_.retry_time();
    expected = std::min<Duration>(expected * 2, seconds(5));
  }
  add_all();
  ASSERT_TRUE(formation_.begin(time_));
  EXPECT_EQ(formation_.retry_time(), kNoDeadline);
  formation_.worked();
  formation_.ended(time_);
  EXPECT_EQ(formation_.retry_time() - time_, milliseconds(100));
}

}  // namespace
}  // namespace octet::worker
