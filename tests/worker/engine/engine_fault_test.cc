// Stages that fail, hang, lie and come back: sequences survive with the same tokens.
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <map>

#include "base/status.h"
#include "tests/worker/engine/engine_harness.h"

namespace octet::worker {
namespace {

// Runs sequences over two stages, lets `fail` do harm in the middle, registers the stages again and checks
// every token.
void survives(EngineHarness& h, const std::function<void()>& fail) {
  h.pipeline.hold_at_step(1, 15);
  h.register_all();
  h.wait_until_ready();
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  std::vector<NewSequence> sequences;
  for (TokenId i = 0; i < 6; ++i) {
    sequences.push_back(new_sequence({i, i + 1, i + 2}, 60));
    ASSERT_TRUE(h.engine->submit(id, i, sequences.back()));
  }
  h.pipeline.wait_for_held_answer(1);
  const uint64_t epoch = h.engine->status().epoch;
  fail();
  h.pipeline.resume(1);  // what it has withheld is of an epoch that has ended, or about to end it
  h.wait_for("the epoch's end",
             [](const EngineStatus& status) { return status.state == PipelineState::kForming; });
  h.register_all();
  for (TokenId i = 0; i < 6; ++i) {
    const FakeSubscriber::Sequence got = router->wait_for_end(i);
    EXPECT_EQ(got.tokens, h.expected(sequences[i])) << i;
    EXPECT_EQ(got.num_ends, 1);
    EXPECT_FALSE(got.news_after_end);
  }
  EXPECT_EQ(h.engine->status().epoch, epoch + 1);
  h.wait_until_blocks_are_free();
}

TEST(EngineFaultTest, SequencesSurviveALostStage) {
  EngineHarness h(2);
  survives(h, [&] { h.pipeline.lose(1); });
}

TEST(EngineFaultTest, SequencesSurviveAStageThatReportsAnError) {
  EngineHarness h(2);
  survives(h, [&] { h.pipeline.fail_next_step(0, "link: peer is gone"); });
}

TEST(EngineFaultTest, SequencesSurviveAStageThatHangs) {
  EngineHarness h(2, std::chrono::milliseconds(50));
  survives(h, [&] {
    h.wait_for("the step timeout", [](const EngineStatus& s) { return s.state == PipelineState::kForming; });
  });
}

TEST(EngineFaultTest, AThreadThatHangsIsAStateUntilItTurnsAgain) {
  std::promise<void> hang;
  const auto hung = hang.get_future().share();
  EngineHarness h(1, std::chrono::milliseconds(20), std::chrono::seconds(60), [hung](PipelineState state) {
    if (state == PipelineState::kDraining) hung.wait();
  });
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  h.wait_until_ready();
  h.engine->drain(now() + std::chrono::seconds(30));
  h.wait_for("the last state", [](const EngineStatus& s) { return s.state == PipelineState::kDraining; });
  ASSERT_TRUE(h.engine->cancel(id, 1));  // nobody takes it
  h.wait_for("the stall", [](const EngineStatus& s) { return s.state == PipelineState::kStalled; });
  hang.set_value();
  h.wait_for("the next turn", [](const EngineStatus& s) { return s.state == PipelineState::kDraining; });
}

TEST(EngineFaultTest, AStageThatHangsIsCounted) {
  EngineHarness h(2, std::chrono::milliseconds(50));
  survives(h, [&] {
    h.wait_for("the step timeout", [](const EngineStatus& s) { return s.state == PipelineState::kForming; });
  });
  std::map<std::string, double> timeouts;
  for (const auto& family : h.metrics.registry()->Collect()) {
    if (family.name != "octet_stage_timeouts_total") continue;
    for (const auto& metric : family.metric) timeouts[metric.label.at(0).value] = metric.counter.value;
  }
  EXPECT_EQ(timeouts, (std::map<std::string, double>{{"0", 0}, {"1", 1}}));
}

TEST(EngineFaultTest, AnAnswerThatContradictsThePlanEndsTheEpochAndNotTheProcess) {
  const std::vector<std::function<void(StepResult&)>> lies = {
      [](StepResult& result) { result.step += 1; },
      [](StepResult& result) { result.samples.clear(); },
      [](StepResult& result) {
        result.samples.push_back({99'999, ScoredToken{}, {}, false});
      },
      [](StepResult& result) { result.samples.at(0).token.reset(); },
      [](StepResult& result) { result.samples.at(0).token->token = 1'000'000; },
  };
  for (const auto& lie : lies) {
    EngineHarness h(2);
    survives(h, [&] { h.pipeline.tamper(lie); });
  }
}

TEST(EngineFaultTest, MessagesOfAnotherEpochAreDropped) {
  EngineHarness h(2);
  survives(h, [&] { h.pipeline.lose(1); });
  const uint64_t epoch = h.engine->status().epoch;
  h.pipeline.lose(1, epoch - 1);
  StepResult stale;
  stale.step = 7;
  stale.error = "failed";
  h.pipeline.answer_again(1, epoch - 1, stale);
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  const NewSequence sequence = new_sequence({3, 4}, 20);
  ASSERT_TRUE(h.engine->submit(id, 1, sequence));
  EXPECT_EQ(router->wait_for_end(1).tokens, h.expected(sequence));
  EXPECT_EQ(h.engine->status().epoch, epoch);
}

TEST(EngineFaultTest, AStageThatCannotJoinIsTriedAgainWhenItRegisters) {
  EngineHarness h(2);
  h.pipeline.refuse_join(1, absl::DeadlineExceededError("link did not come"));
  h.register_all();
  h.wait_for("the failed join", [](const EngineStatus& status) { return status.epoch == 1; });
  h.wait_for("forming", [&](const EngineStatus&) { return h.metrics.epochs_ended.Value() == 1; });
  h.register_all();
  h.wait_until_ready();
  EXPECT_EQ(h.engine->status().epoch, 2u);
}

TEST(EngineFaultTest, AJoinThatIsNotAnsweredIsGivenUp) {
  EngineHarness h(2, std::chrono::seconds(60), std::chrono::milliseconds(20));
  h.pipeline.hold(1);
  h.register_all();
  h.wait_for("the end of the wait", [&](const EngineStatus&) { return h.metrics.epochs_ended.Value() == 1; });
  h.pipeline.resume(1);  // too late
  h.register_all();
  h.wait_until_ready();
  EXPECT_EQ(h.engine->status().epoch, 2u);
}

TEST(EngineFaultTest, AFailedWarmUpIsNoReadiness) {
  EngineHarness h(2);
  h.pipeline.fail_next_step(1, "out of memory");
  h.register_all();
  h.wait_for("the failure", [&](const EngineStatus&) { return h.metrics.epochs_ended.Value() == 1; });
  EXPECT_EQ(h.engine->status().state, PipelineState::kForming);
}

TEST(EngineFaultTest, AStageThatDoesNotFitIsRefusedWithTheDifference) {
  EngineHarness h(2);
  Registration other = fake_registration(1, 2, h.config);
  other.description.model_digest = "other";
  const auto refused = h.register_stage(other);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(text_of(refused.status()), "stage 1 has model digest other, the lead digest");
  h.register_all();
  h.wait_until_ready();
}

TEST(EngineFaultTest, StagesAreJoinedWithTheNextOnesLinkAddress) {
  EngineHarness h(3);
  h.register_all();
  h.wait_until_ready();
  ASSERT_EQ(h.pipeline.joins(0).size(), 1u);
  EXPECT_EQ(h.pipeline.joins(0)[0].next_link_address, "stage-1:2");
  EXPECT_EQ(h.pipeline.joins(1)[0].next_link_address, "stage-2:2");
  EXPECT_EQ(h.pipeline.joins(2)[0].next_link_address, "");
  EXPECT_EQ(h.pipeline.joins(2)[0].num_blocks, h.config.num_blocks);
}

}  // namespace
}  // namespace octet::worker
