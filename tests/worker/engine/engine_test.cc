// The engine's ordinary life: sequences in, tokens out, ends of every kind.
#include "worker/engine/engine.h"

#include <gtest/gtest.h>

#include "base/status.h"
#include "tests/worker/engine/engine_harness.h"

namespace octet::worker {
namespace {

class EngineStagesTest : public testing::TestWithParam<int> {};

TEST_P(EngineStagesTest, EverySequenceGetsItsModelsTokensInOrder) {
  EngineHarness h(GetParam());
  h.register_all();
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  std::vector<NewSequence> sequences;
  for (TokenId i = 0; i < 20; ++i) {
    std::vector<TokenId> prompt(1 + i * 3 % 40);
    for (TokenId p = 0; p < prompt.size(); ++p) prompt[p] = (i * 131 + p) % 1000;
    sequences.push_back(new_sequence(prompt, 5 + i));
    ASSERT_TRUE(h.engine->submit(id, 100 + i, sequences.back()));
  }
  for (TokenId i = 0; i < 20; ++i) {
    const FakeSubscriber::Sequence got = router->wait_for_end(100 + i);
    EXPECT_EQ(got.tokens, h.expected(sequences[i])) << i;
    EXPECT_EQ(got.finish, FinishReason::kLength);
    EXPECT_EQ(got.num_ends, 1);
    EXPECT_FALSE(got.news_after_end);
  }
  h.wait_until_blocks_are_free();
  EXPECT_GT(h.metrics.steps.Value(), 0);
}

INSTANTIATE_TEST_SUITE_P(Stages, EngineStagesTest, testing::Values(1, 2, 4));

TEST(EngineTest, KeepsSequencesUntilTheFirstFormation) {
  EngineHarness h(2);
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  const NewSequence sequence = new_sequence({1, 2, 3}, 4);
  ASSERT_TRUE(h.engine->submit(id, 1, sequence));
  ASSERT_TRUE(h.engine->submit(id, 2, sequence));
  h.wait_for("submissions", [](const EngineStatus& status) { return status.scheduler.waiting == 2; });
  EXPECT_EQ(h.engine->status().state, PipelineState::kForming);
  ASSERT_TRUE(h.engine->cancel(id, 2));
  h.wait_for("the cancellation", [](const EngineStatus& status) { return status.scheduler.waiting == 1; });
  h.register_all();
  EXPECT_EQ(router->wait_for_end(1).tokens, h.expected(sequence));
  EXPECT_EQ(router->sequence(2).num_ends, 0);
}

TEST(EngineTest, AStepsNewsComeInOneDelivery) {
  EngineHarness h(2);
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  // Both are there before the first plan, which therefore holds both prompts.
  ASSERT_TRUE(h.engine->submit(id, 1, new_sequence({1, 2, 3}, 1)));
  ASSERT_TRUE(h.engine->submit(id, 2, new_sequence({4, 5}, 1)));
  h.register_all();
  router->wait_for_end(2);
  EXPECT_EQ(router->deliveries(), (std::vector<std::vector<uint64_t>>{{1, 2}}));
}

TEST(EngineTest, RoutersDoNotSeeEachOthersSequences) {
  EngineHarness h;
  const auto one = std::make_shared<FakeSubscriber>();
  const auto two = std::make_shared<FakeSubscriber>();
  const SubscriberId first = h.engine->subscribe(one);
  const SubscriberId second = h.engine->subscribe(two);
  // The same number on two streams is two sequences.
  const NewSequence a = new_sequence({1, 2, 3}, 8);
  const NewSequence b = new_sequence({7}, 9);
  ASSERT_TRUE(h.engine->submit(first, 5, a));
  ASSERT_TRUE(h.engine->submit(second, 5, b));
  EXPECT_EQ(one->wait_for_end(5).tokens, h.expected(a));
  EXPECT_EQ(two->wait_for_end(5).tokens, h.expected(b));
}

TEST(EngineTest, ARefusedSequenceIsToldWhyAndTheOthersGoOn) {
  EngineHarness h;
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  const NewSequence good = new_sequence({1, 2, 3}, 8);
  ASSERT_TRUE(h.engine->submit(id, 1, good));
  ASSERT_TRUE(h.engine->submit(id, 2, new_sequence({}, 8)));
  const FakeSubscriber::Sequence refused = router->wait_for_end(2);
  EXPECT_EQ(refused.failure.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(text_of(refused.failure).find("prompt_tokens"), std::string::npos);
  EXPECT_EQ(router->wait_for_end(1).tokens, h.expected(good));
}

TEST(EngineTest, ANumberInUseEndsTheStreamThatBrokeTheProtocol) {
  EngineHarness h;
  h.pipeline.hold(0);
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  ASSERT_TRUE(h.engine->submit(id, 1, new_sequence({1}, 50)));
  ASSERT_TRUE(h.engine->submit(id, 1, new_sequence({2}, 50)));
  EXPECT_EQ(router->wait_for_stream_end().code(), absl::StatusCode::kInvalidArgument);
  h.wait_for("the end of its sequences",
             [](const EngineStatus& status) { return status.num_sequences == 0; });
  h.pipeline.resume(0);
}

TEST(EngineTest, ACancelledSequenceHasNoMoreNewsAndFreesItsBlocks) {
  EngineHarness h;
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  h.wait_until_ready();
  h.pipeline.hold(0);
  ASSERT_TRUE(h.engine->submit(id, 1, new_sequence({1, 2, 3}, 100)));
  h.pipeline.wait_for_held_answer(0);
  h.wait_for("blocks in use", [](const EngineStatus& status) { return status.scheduler.free_blocks < 64; });
  ASSERT_TRUE(h.engine->cancel(id, 1));
  h.wait_until_blocks_are_free();
  h.pipeline.resume(0);
  const NewSequence next = new_sequence({9}, 3);
  ASSERT_TRUE(h.engine->submit(id, 2, next));
  EXPECT_EQ(router->wait_for_end(2).tokens, h.expected(next));
  EXPECT_EQ(router->sequence(1).num_ends, 0);
  ASSERT_TRUE(h.engine->cancel(id, 77));  // unknown: no effect
}

TEST(EngineTest, ADeadlineEndsASequenceWhileItsStepRuns) {
  EngineHarness h;
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  h.wait_until_ready();
  h.pipeline.hold(0);
  NewSequence sequence = new_sequence({1, 2, 3}, 100);
  sequence.deadline = now() + std::chrono::milliseconds(5);
  ASSERT_TRUE(h.engine->submit(id, 1, sequence));
  EXPECT_EQ(router->wait_for_end(1).finish, FinishReason::kDeadline);
  h.wait_until_blocks_are_free();
  h.pipeline.resume(0);
}

TEST(EngineTest, ADeadlineEndsASequenceWhileThePipelineForms) {
  EngineHarness h(2);
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  NewSequence sequence = new_sequence({1, 2, 3}, 100);
  sequence.deadline = now() + std::chrono::milliseconds(5);
  ASSERT_TRUE(h.engine->submit(id, 1, sequence));
  EXPECT_EQ(router->wait_for_end(1).finish, FinishReason::kDeadline);
}

TEST(EngineTest, AStreamsEndCancelsItsSequences) {
  EngineHarness h;
  const auto gone = std::make_shared<FakeSubscriber>();
  const auto staying = std::make_shared<FakeSubscriber>();
  const SubscriberId first = h.engine->subscribe(gone);
  const SubscriberId second = h.engine->subscribe(staying);
  h.wait_until_ready();
  h.pipeline.hold(0);
  for (uint64_t i = 0; i < 5; ++i) ASSERT_TRUE(h.engine->submit(first, i, new_sequence({1, 2, 3}, 100)));
  const NewSequence sequence = new_sequence({4}, 20);
  ASSERT_TRUE(h.engine->submit(second, 1, sequence));
  h.engine->unsubscribe(first);
  h.wait_for("one sequence", [](const EngineStatus& status) { return status.num_sequences == 1; });
  h.pipeline.resume(0);
  EXPECT_EQ(staying->wait_for_end(1).tokens, h.expected(sequence));
  h.wait_until_blocks_are_free();
}

TEST(EngineTest, ARouterThatDoesNotReadLosesItsSequencesAndHoldsUpNobody) {
  EngineHarness h;
  const auto slow = std::make_shared<FakeSubscriber>();
  const auto good = std::make_shared<FakeSubscriber>();
  const SubscriberId first = h.engine->subscribe(slow);
  const SubscriberId second = h.engine->subscribe(good);
  slow->refuse();
  // The slow one holds most of the cache, so the other can only run when its blocks come free.
  for (uint64_t i = 0; i < 16; ++i) ASSERT_TRUE(h.engine->submit(first, i, new_sequence({1, 2, 3}, 100)));
  const NewSequence sequence = new_sequence(std::vector<TokenId>(100, 5), 20);
  ASSERT_TRUE(h.engine->submit(second, 1, sequence));
  EXPECT_EQ(good->wait_for_end(1).tokens, h.expected(sequence));
  h.wait_until_blocks_are_free();
}

TEST(EngineTest, DrainingRefusesNewSequencesAndFinishesTheOthers) {
  EngineHarness h;
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  h.wait_until_ready();
  h.pipeline.hold(0);
  const NewSequence sequence = new_sequence({1, 2, 3}, 30);
  ASSERT_TRUE(h.engine->submit(id, 1, sequence));
  h.pipeline.wait_for_held_answer(0);
  h.engine->drain(now() + std::chrono::seconds(30));
  ASSERT_TRUE(h.engine->submit(id, 2, sequence));
  EXPECT_EQ(router->wait_for_end(2).failure.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(retry_after_of(router->sequence(2).failure));
  h.wait_for("draining", [](const EngineStatus& status) { return status.state == PipelineState::kDraining; });
  h.pipeline.resume(0);
  EXPECT_EQ(router->wait_for_end(1).tokens, h.expected(sequence));
  h.wait_until_blocks_are_free();
}

TEST(EngineTest, SubmissionsPastTheMailboxsLimitAreRefused) {
  EngineHarness h;
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  h.wait_until_ready();
  // While the engine's thread waits here it takes nothing.
  std::promise<void> entered;
  std::promise<void> leave;
  std::thread blocker([&] {
    h.engine->register_stage(fake_registration(1, 2, h.config), [&](const absl::StatusOr<uint64_t>&) {
      entered.set_value();
      leave.get_future().wait();
    });
  });
  entered.get_future().wait();
  int taken = 0;
  while (taken < 100'000 && h.engine->submit(id, static_cast<uint64_t>(taken), new_sequence({1}, 1))) ++taken;
  EXPECT_LT(taken, 100'000);
  leave.set_value();
  blocker.join();
  h.wait_until_blocks_are_free();
}

TEST(EngineTest, StoppingEndsEveryStreamAndAnswersEveryRegistration) {
  EngineHarness h(2);
  const auto router = std::make_shared<FakeSubscriber>();
  const SubscriberId id = h.engine->subscribe(router);
  ASSERT_TRUE(h.engine->submit(id, 1, new_sequence({1}, 10)));
  h.engine->stop();
  EXPECT_EQ(router->wait_for_stream_end().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(h.register_stage(fake_registration(1, 2, h.config)).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_FALSE(h.engine->submit(id, 2, new_sequence({1}, 10)));
  const auto late = std::make_shared<FakeSubscriber>();
  h.engine->subscribe(late);
  EXPECT_EQ(late->wait_for_stream_end().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace octet::worker
