// The executor over the nano model's stage, alone or with a second one linked by TCP.
#include "worker/engine/stage_executor.h"

#include <gtest/gtest.h>

#include <future>

#include "base/status.h"
#include "tests/worker/stage/pipeline.h"
#include "worker/engine/local_stage_client.h"

namespace octet::worker {
namespace {

const LinkKey kLinkKey = make_link_key();

constexpr Duration kLong = std::chrono::seconds(30);

// One sequence of one token.
std::shared_ptr<const BatchPlan> plan(uint64_t step, SequenceId id, bool samples = true) {
  BatchPlan plan;
  plan.step = step;
  AdmittedSequence sequence;
  sequence.id = id;
  sequence.tokens = {5};
  sequence.num_prompt_tokens = 1;
  sequence.sampling.temperature = 0;
  plan.admitted.push_back(sequence);
  SequenceChunk chunk;
  chunk.id = id;
  chunk.tokens = {5};
  chunk.new_blocks = {static_cast<BlockId>(id)};
  chunk.samples = samples;
  plan.chunks.push_back(chunk);
  return std::make_shared<const BatchPlan>(plan);
}

JoinCommand join_command(uint64_t epoch, const std::string& next = "") {
  return {epoch, next, 16, kLong, kLinkKey};
}

std::future<absl::Status> join(StageExecutor& executor, const JoinCommand& command) {
  auto promise = std::make_shared<std::promise<absl::Status>>();
  executor.join(command, [promise](const absl::Status& status) { promise->set_value(status); });
  return promise->get_future();
}

std::future<StepResult> execute(StageExecutor& executor, uint64_t epoch,
                                std::shared_ptr<const BatchPlan> what) {
  auto promise = std::make_shared<std::promise<StepResult>>();
  executor.execute(epoch, std::move(what),
                   [promise](StepResult result) { promise->set_value(std::move(result)); });
  return promise->get_future();
}

class StageExecutorTest : public testing::Test {
 protected:
  std::unique_ptr<Stage> stage_ = Stage::load(nano_config()).value();
};

TEST_F(StageExecutorTest, ComputesPlansInOrderAndTellsWhereTheTimeWent) {
  StageExecutor executor(*stage_, nullptr);
  ASSERT_TRUE(join(executor, join_command(1)).get().ok());
  auto first = execute(executor, 1, plan(1, 1));
  auto second = execute(executor, 1, plan(2, 2));
  const StepResult one = first.get();
  const StepResult two = second.get();
  EXPECT_EQ(one.error, "");
  EXPECT_EQ(one.step, 1u);
  EXPECT_EQ(two.step, 2u);
  ASSERT_EQ(one.samples.size(), 1u);
  EXPECT_EQ(one.samples[0].token, two.samples[0].token) << "the same prompt";
  EXPECT_GE(one.timing.resident_ns, one.timing.compute_ns);
  EXPECT_GT(one.timing.compute_ns, 0u);
  EXPECT_TRUE(executor.last_step());
}

TEST_F(StageExecutorTest, RefusesEpochsThatAreNotNewerAndBlocksThatItDoesNotHave) {
  StageExecutor executor(*stage_, nullptr);
  ASSERT_TRUE(join(executor, join_command(5)).get().ok());
  EXPECT_EQ(executor.last_epoch(), 5u);
  EXPECT_EQ(join(executor, join_command(5)).get().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(join(executor, join_command(4)).get().code(), absl::StatusCode::kFailedPrecondition);
  JoinCommand greedy = join_command(6);
  greedy.num_blocks = stage_->shape().num_blocks + 1;
  const absl::Status refused = join(executor, greedy).get();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(text_of(refused).find("num_blocks"), std::string::npos);
  greedy.num_blocks = 0;
  EXPECT_FALSE(join(executor, greedy).get().ok());
  EXPECT_EQ(execute(executor, 5, plan(1, 1)).get().error, "") << "the epoch goes on";
}

TEST_F(StageExecutorTest, DropsPlansOfOtherEpochs) {
  StageExecutor executor(*stage_, nullptr);
  ASSERT_TRUE(join(executor, join_command(1)).get().ok());
  ASSERT_TRUE(join(executor, join_command(2)).get().ok());
  auto stale = execute(executor, 1, plan(1, 1));
  EXPECT_EQ(execute(executor, 2, plan(1, 1)).get().error, "");
  executor.end_epoch(1);  // not the current one: no effect
  EXPECT_EQ(execute(executor, 2, plan(2, 2)).get().error, "");
  executor.end_epoch(2);
  auto late = execute(executor, 2, plan(3, 3));
  EXPECT_THROW(stale.get(), std::future_error) << "never answered";
  EXPECT_THROW(late.get(), std::future_error) << "never answered";
}

TEST_F(StageExecutorTest, AFailedStepEndsTheEpochAndTheNextJoinWorks) {
  StageExecutor executor(*stage_, nullptr);
  ASSERT_TRUE(join(executor, join_command(1)).get().ok());
  BatchPlan bad = *plan(1, 1);
  bad.admitted.clear();  // a chunk of a sequence that the stage does not know
  EXPECT_NE(execute(executor, 1, std::make_shared<const BatchPlan>(bad)).get().error, "");
  auto dropped = execute(executor, 1, plan(2, 2));
  ASSERT_TRUE(join(executor, join_command(2)).get().ok());
  EXPECT_EQ(execute(executor, 2, plan(1, 1)).get().error, "");
  EXPECT_THROW(dropped.get(), std::future_error);
}

TEST_F(StageExecutorTest, TwoStagesJoinOverTcpWhateverTheOrder) {
  StageConfig config = nano_config(2);
  auto first = Stage::load(config).value();
  config.stage = 1;
  auto second = Stage::load(config).value();
  auto listener = TcpLinkListener::listen("127.0.0.1", 0).value();
  const std::string address = "127.0.0.1:" + std::to_string(listener->port());
  StageExecutor lead(*first, nullptr);
  StageExecutor last(*second, listener.get());
  for (uint64_t epoch = 1; epoch <= 4; ++epoch) {
    const bool lead_first = epoch % 2 == 0;
    std::future<absl::Status> a =
        lead_first ? join(lead, join_command(epoch, address)) : join(last, join_command(epoch));
    std::future<absl::Status> b =
        lead_first ? join(last, join_command(epoch)) : join(lead, join_command(epoch, address));
    ASSERT_TRUE(a.get().ok());
    ASSERT_TRUE(b.get().ok());
    auto handed_over = execute(lead, epoch, plan(1, 1));
    auto sampled = execute(last, epoch, plan(1, 1));
    EXPECT_EQ(handed_over.get().error, "");
    EXPECT_EQ(sampled.get().samples.size(), 1u);
  }
}

TEST_F(StageExecutorTest, AJoinThatWaitsIsOvertakenByTheNextOneAndByTheEnd) {
  StageConfig config = nano_config(2);
  config.stage = 1;
  auto second = Stage::load(config).value();
  auto listener = TcpLinkListener::listen("127.0.0.1", 0).value();
  std::future<absl::Status> overtaken;
  std::future<absl::Status> ended;
  {
    StageExecutor executor(*second, listener.get());
    JoinCommand patient = join_command(1);  // nobody will connect
    patient.timeout = std::chrono::milliseconds(200);
    overtaken = join(executor, patient);
    patient.epoch = 2;
    ended = join(executor, patient);
  }
  EXPECT_FALSE(overtaken.get().ok());
  EXPECT_FALSE(ended.get().ok());
}

// Its neighbour died after it had registered: whoever connects to it hears nothing but refusals.
TEST_F(StageExecutorTest, AJoinThatConnectsIsOverWithItsEpoch) {
  auto first = Stage::load(nano_config(2)).value();
  std::string nobody;
  {
    auto listener = TcpLinkListener::listen("127.0.0.1", 0).value();
    nobody = "127.0.0.1:" + std::to_string(listener->port());
  }
  StageExecutor executor(*first, nullptr);
  JoinCommand patient = join_command(1, nobody);
  patient.timeout = 10 * kLong;
  auto joined = join(executor, patient);
  executor.end_epoch(1);
  ASSERT_EQ(joined.wait_for(kLong), std::future_status::ready);
  EXPECT_TRUE(absl::IsCancelled(joined.get()));
  patient.epoch = 2;
  joined = join(executor, patient);
  patient.epoch = 3;
  auto newer = join(executor, patient);
  ASSERT_EQ(joined.wait_for(kLong), std::future_status::ready);
  EXPECT_TRUE(absl::IsCancelled(joined.get()));
  executor.stop();
  ASSERT_EQ(newer.wait_for(kLong), std::future_status::ready);
}

TEST_F(StageExecutorTest, AbortingARunningStepMakesItFailSoon) {
  StageConfig config = nano_config(2);
  config.stage = 1;
  auto second = Stage::load(config).value();
  auto listener = TcpLinkListener::listen("127.0.0.1", 0).value();
  StageExecutor executor(*second, listener.get());
  auto joined = join(executor, join_command(1));
  auto links = connect_links("127.0.0.1:" + std::to_string(listener->port()), 1, kLinkKey, 1, now() + kLong);
  ASSERT_TRUE(links.ok());
  ASSERT_TRUE(joined.get().ok());
  auto waiting = execute(executor, 1, plan(1, 1));  // for activations that do not come
  executor.end_epoch(1);
  ASSERT_EQ(waiting.wait_for(kLong), std::future_status::ready);
}

// The engine's view of the lead's own stage.
TEST_F(StageExecutorTest, TheLocalClientReportsEverythingAsEvents) {
  struct Events : StageEvents {
    void on_joined(int, uint64_t epoch, const absl::Status& status) override {
      if (status.ok()) joined.set_value(epoch);
    }
    void on_result(int, uint64_t, StepResult result) override { answered.set_value(std::move(result)); }
    void on_lost(int, uint64_t, const absl::Status&) override {}
    std::promise<uint64_t> joined;
    std::promise<StepResult> answered;
  };
  const auto events = std::make_shared<Events>();
  StageExecutor executor(*stage_, nullptr);
  auto client = std::make_unique<LocalStageClient>(0, executor, events);
  client->join(join_command(3));
  EXPECT_EQ(events->joined.get_future().get(), 3u);
  client->execute(plan(0, 0));
  EXPECT_EQ(events->answered.get_future().get().error, "");
  client.reset();
  auto dropped = execute(executor, 3, plan(1, 1));
  EXPECT_THROW(dropped.get(), std::future_error) << "the client's end is the epoch's end";
}

}  // namespace
}  // namespace octet::worker
