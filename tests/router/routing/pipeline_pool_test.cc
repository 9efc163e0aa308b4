#include "router/routing/pipeline_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/prefix_hash.h"
#include "base/status.h"
#include "base/wire_version.h"
#include "tests/router/routing/fake_lead.h"

namespace octet::router {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct RecordingEvents final : SequenceEvents {
  void on_output(const v1::SequenceOutput& output) override {
    OCTET_CHECK(!lost && !is_over, "a call after the last one");
    for (const auto& token : output.tokens()) tokens.push_back(token.token_id());
    is_over = output.finish_reason() != v1::FINISH_REASON_UNSPECIFIED || output.error_code() != 0;
  }
  void on_draining(Time end) override {
    OCTET_CHECK(!lost && !is_over, "a call after the last one");
    drain_end = end;
    if (when_draining) when_draining();
  }
  void on_lost(MoveReason reason) override {
    OCTET_CHECK(!lost && !is_over, "a call after the last one");
    lost = reason;
    if (when_lost) when_lost();
  }

  std::vector<uint32_t> tokens;
  bool is_over = false;
  std::optional<MoveReason> lost;
  std::optional<Time> drain_end;
  std::function<void()> when_lost;
  std::function<void()> when_draining;
};

class PipelinePoolTest : public testing::Test {
 protected:
  PipelinePoolTest() {
    options_.vocab_size = 1600;
    options_.client.silence_timeout = std::chrono::minutes(5);
    options_.client.backoff = {.min = std::chrono::milliseconds(5), .max = std::chrono::milliseconds(50)};
    request_.prompt = {7};
  }

  void connect(const std::vector<std::string>& addresses) {
    pool_.emplace(
        loop_, options_, metrics_,
        PipelinePool::Events{.on_change = [this] { ++num_changes_; }, .on_room = [this] { ++num_room_; }});
    pool_->use(addresses);
  }
  // Turns the loop until the condition holds; ends the test program when it never does.
  template <typename Condition>
  void run_until(Condition condition) {
    const Time deadline = now() + std::chrono::seconds(30);
    while (!condition()) {
      OCTET_CHECK(now() < deadline, "waited in vain");
      loop_.restart();
      loop_.run_one_for(std::chrono::milliseconds(100));
    }
  }
  void await_ready(size_t num) {
    run_until([&] { return pool_->num_ready() == num; });
  }
  absl::StatusOr<std::optional<PipelineId>> choose() {
    return pool_->choose({.request = request_, .num_sequences = request_.num_choices});
  }
  // Where the pool starts a sequence now.
  absl::StatusOr<SequenceHandle> start(SequenceEvents& events) {
    const auto pipeline = choose();
    if (!pipeline.ok()) return pipeline.status();
    OCTET_CHECK(*pipeline, "no room");
    return pool_->start(**pipeline, sequence(), events);
  }
  // The lead's first sequence ends with one token.
  void lead_finishes(FakeLead& lead, const RecordingEvents& events) {
    run_until([&] { return lead.num_started() > 0; });
    lead.send_tokens(lead.started(0).sequence_id(), {1}, v1::FINISH_REASON_LENGTH);
    run_until([&] { return events.is_over; });
  }
  v1::StartSequence sequence() const {
    v1::StartSequence start;
    start.add_prompt_tokens(7);
    start.set_max_tokens(4);
    return start;
  }

  boost::asio::io_context loop_;
  RouterMetrics metrics_;
  PipelinePool::Options options_;
  ValidatedRequest request_;
  int num_changes_ = 0;
  int num_room_ = 0;
  std::optional<PipelinePool> pool_;
};

TEST_F(PipelinePoolTest, IsReadyWhileTheLeadIs) {
  v1::WatchResponse state = FakeLead::ready_state();
  state.set_state(v1::PIPELINE_STATE_FORMING);
  FakeLead lead(state);
  connect({lead.address()});
  EXPECT_EQ(pool_->num_ready(), 0U);
  RecordingEvents events;
  const auto refused = start(events);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(retry_after_of(refused.status()));

  lead.set_state(FakeLead::ready_state());
  await_ready(1);
  ASSERT_TRUE(pool_->model());
  EXPECT_EQ(pool_->model()->name, "nano");
  EXPECT_EQ(pool_->model()->max_model_len, 4096U);
  EXPECT_EQ(pool_->model()->vocab_size, 1600U);
  EXPECT_EQ(pool_->model()->backend, "cpu");
  EXPECT_EQ(metrics_.pipelines_ready.Value(), 1);
  EXPECT_EQ(num_changes_, 1);

  state.set_state(v1::PIPELINE_STATE_DRAINING);
  lead.set_state(state);
  await_ready(0);
  EXPECT_EQ(metrics_.pipelines_ready.Value(), 0);
}

TEST_F(PipelinePoolTest, PausesWhileTheOnlyPipelineFormsAgain) {
  v1::WatchResponse forming = FakeLead::ready_state();
  forming.set_state(v1::PIPELINE_STATE_FORMING);
  auto lead = std::make_unique<FakeLead>(forming);
  connect({lead->address()});
  run_until([&] { return num_room_ > 0; });
  EXPECT_FALSE(pool_->is_pausing()) << "it has never been ready";
  lead->set_state(FakeLead::ready_state());
  await_ready(1);
  EXPECT_FALSE(pool_->is_pausing());
  RecordingEvents events;
  ASSERT_TRUE(start(events).ok());
  lead->set_state(forming);
  await_ready(0);
  EXPECT_TRUE(pool_->is_pausing());
  EXPECT_FALSE(choose().ok());
  EXPECT_FALSE(events.lost) << "the lead keeps it";
  lead->set_state(FakeLead::ready_state());
  await_ready(1);
  lead->set_state(forming);
  await_ready(0);
  lead.reset();
  run_until([&] { return events.lost.has_value(); });
  EXPECT_FALSE(pool_->is_pausing());
}

TEST_F(PipelinePoolTest, APauseThatIsTooLongIsNone) {
  options_.client.max_pause = std::chrono::milliseconds(20);
  FakeLead lead(FakeLead::ready_state());
  connect({lead.address()});
  await_ready(1);
  v1::WatchResponse forming = FakeLead::ready_state();
  forming.set_state(v1::PIPELINE_STATE_FORMING);
  lead.set_state(forming);
  await_ready(0);
  run_until([&] { return !pool_->is_pausing(); });
}

TEST_F(PipelinePoolTest, SequencesRunAndEnd) {
  FakeLead lead(FakeLead::ready_state());
  connect({lead.address()});
  await_ready(1);
  RecordingEvents a, b;
  ASSERT_TRUE(start(a).ok());
  ASSERT_TRUE(start(b).ok());
  loop_.restart();
  loop_.poll();
  run_until([&] { return lead.num_started() == 2; });
  const uint64_t id_a = lead.started(0).sequence_id();
  const uint64_t id_b = lead.started(1).sequence_id();
  EXPECT_NE(id_a, id_b);
  EXPECT_THAT(lead.started(0).prompt_tokens(), ElementsAre(7));
  lead.send_tokens(id_b, {1});
  lead.send_tokens(id_a, {2, 3}, v1::FINISH_REASON_LENGTH);
  lead.send_tokens(id_a, {4});  // after its end: nobody hears of it
  lead.send_tokens(id_b, {5}, v1::FINISH_REASON_STOP);
  run_until([&] { return a.is_over && b.is_over; });
  EXPECT_THAT(a.tokens, ElementsAre(2, 3));
  EXPECT_THAT(b.tokens, ElementsAre(1, 5));
}

TEST_F(PipelinePoolTest, CancelReachesTheLeadAndNothingIsHeardAfterIt) {
  FakeLead lead(FakeLead::ready_state());
  connect({lead.address()});
  await_ready(1);
  RecordingEvents cancelled, other;
  const auto handle = start(cancelled).value();
  ASSERT_TRUE(start(other).ok());
  run_until([&] { return lead.num_started() == 2; });
  pool_->cancel(handle);
  run_until([&] { return lead.was_cancelled(handle.sequence_id); });
  lead.send_tokens(handle.sequence_id, {1}, v1::FINISH_REASON_LENGTH);
  lead.send_tokens(lead.started(1).sequence_id(), {2}, v1::FINISH_REASON_LENGTH);
  run_until([&] { return other.is_over; });
  EXPECT_TRUE(cancelled.tokens.empty());
  EXPECT_FALSE(cancelled.is_over);
  pool_->cancel(handle);  // again: ignored
}

TEST_F(PipelinePoolTest, SequenceCancelledBeforeItLeftIsNeverSent) {
  FakeLead lead(FakeLead::ready_state());
  connect({lead.address()});
  await_ready(1);
  RecordingEvents first, cancelled, last;
  // The first is being written, so the second waits: the loop does not turn in between.
  const auto first_handle = start(first).value();
  const auto cancelled_handle = start(cancelled).value();
  pool_->cancel(cancelled_handle);
  const auto last_handle = start(last).value();
  run_until([&] { return lead.num_started() == 2; });
  EXPECT_EQ(lead.started(0).sequence_id(), first_handle.sequence_id);
  EXPECT_EQ(lead.started(1).sequence_id(), last_handle.sequence_id);
  EXPECT_FALSE(lead.was_cancelled(cancelled_handle.sequence_id));
}

TEST_F(PipelinePoolTest, LostLeadLosesItsSequencesAndIsFoundAgain) {
  auto lead = std::make_unique<FakeLead>(FakeLead::ready_state());
  const int port = lead->port();
  connect({lead->address()});
  await_ready(1);
  RecordingEvents a, b, c;
  ASSERT_TRUE(start(a).ok());
  ASSERT_TRUE(start(b).ok());
  run_until([&] { return lead->num_started() == 2; });
  lead.reset();
  await_ready(0);
  run_until([&] { return a.lost && b.lost; });
  EXPECT_EQ(a.lost, MoveReason::kLost);
  EXPECT_FALSE(start(c).ok());

  lead = std::make_unique<FakeLead>(FakeLead::ready_state(), port);
  await_ready(1);
  ASSERT_TRUE(start(c).ok());
  run_until([&] { return lead->num_started() == 1; });
  EXPECT_GT(lead->started(0).sequence_id(), 2U);  // ids are not used again
}

TEST_F(PipelinePoolTest, SequencesMayBeCancelledWhileOthersAreLost) {
  auto lead = std::make_unique<FakeLead>(FakeLead::ready_state());
  connect({lead->address()});
  await_ready(1);
  RecordingEvents a, b;
  const auto handle_a = start(a).value();
  const auto handle_b = start(b).value();
  a.when_lost = [&] { pool_->cancel(handle_b); };
  b.when_lost = [&] { pool_->cancel(handle_a); };
  run_until([&] { return lead->num_started() == 2; });
  lead.reset();
  await_ready(0);
  EXPECT_NE(a.lost.has_value(), b.lost.has_value());  // the other was cancelled and heard nothing
}

TEST_F(PipelinePoolTest, SilentLeadIsLost) {
  options_.client.silence_timeout = std::chrono::milliseconds(100);
  FakeLead lead(FakeLead::ready_state());  // speaks only once
  connect({lead.address()});
  await_ready(1);
  RecordingEvents events;
  ASSERT_TRUE(start(events).ok());
  run_until([&] { return events.lost.has_value(); });
  EXPECT_EQ(events.lost, MoveReason::kHung);
  await_ready(1);  // and connected to again
}

TEST_F(PipelinePoolTest, LeadThatSaysThatItStallsIsLostAndUsedAgainWhenItDoesNot) {
  FakeLead lead(FakeLead::ready_state());
  connect({lead.address()});
  await_ready(1);
  RecordingEvents events;
  const auto handle = start(events).value();
  run_until([&] { return lead.num_started() == 1; });
  v1::WatchResponse state = FakeLead::ready_state();
  state.set_state(v1::PIPELINE_STATE_STALLED);
  lead.set_state(state);
  run_until([&] { return events.lost.has_value(); });
  EXPECT_EQ(events.lost, MoveReason::kHung);
  EXPECT_EQ(pool_->num_ready(), 0U);
  EXPECT_FALSE(start(events).ok());
  // What it says late of the sequence is heard by nobody: RecordingEvents checks that.
  lead.set_state(FakeLead::ready_state());
  await_ready(1);
  RecordingEvents next;
  ASSERT_TRUE(start(next).ok());
  const uint64_t id = lead.started(1).sequence_id();
  lead.await_stream(2);
  lead.send_tokens(handle.sequence_id, {9}, v1::FINISH_REASON_LENGTH);
  lead.send_tokens(id, {1}, v1::FINISH_REASON_LENGTH);
  run_until([&] { return next.is_over; });
  EXPECT_TRUE(events.tokens.empty());
}

TEST_F(PipelinePoolTest, PipelineThatFailsSequenceAfterSequenceIsLeftAloneAndTriedAgain) {
  options_.client.circuit = {.max_failures = 2,
                             .min_open = std::chrono::milliseconds(50),
                             .max_open = std::chrono::milliseconds(100)};
  FakeLead lead(FakeLead::ready_state());
  connect({lead.address()});
  await_ready(1);
  const auto fail_one = [&](size_t i, absl::StatusCode code) {
    RecordingEvents events;
    ASSERT_TRUE(start(events).ok());
    v1::SequenceOutput output;
    run_until([&] { return lead.num_started() > i; });
    output.set_sequence_id(lead.started(i).sequence_id());
    output.set_error_code(static_cast<int>(code));
    lead.send(output);
    run_until([&] { return events.is_over; });
  };
  for (size_t i = 0; i < 3; ++i) fail_one(i, absl::StatusCode::kInvalidArgument);
  fail_one(3, absl::StatusCode::kInternal);
  EXPECT_TRUE(choose().value());
  fail_one(4, absl::StatusCode::kInternal);
  EXPECT_FALSE(choose().value()) << "wait: it is ready, and left alone";
  lead.set_state(FakeLead::ready_state());
  run_until([&] { return metrics_.pipelines_circuit_open.Value() == 1; });
  run_until([&] { return choose().value().has_value(); });
  RecordingEvents probe;
  ASSERT_TRUE(start(probe).ok());
  EXPECT_FALSE(choose().value()) << "one probe at a time";
  run_until([&] { return lead.num_started() == 6; });
  lead.send_tokens(lead.started(5).sequence_id(), {1}, v1::FINISH_REASON_LENGTH);
  run_until([&] { return probe.is_over; });
  EXPECT_TRUE(choose().value());
  lead.set_state(FakeLead::ready_state());
  run_until([&] { return metrics_.pipelines_circuit_open.Value() == 0; });
}

TEST_F(PipelinePoolTest, DrainingLeadTellsItsSequencesUntilWhen) {
  FakeLead lead(FakeLead::ready_state());
  connect({lead.address()});
  await_ready(1);
  RecordingEvents a, b;
  const auto handle_a = start(a).value();
  ASSERT_TRUE(start(b).ok());
  a.when_draining = [&] { pool_->cancel(handle_a); };
  run_until([&] { return lead.num_started() == 2; });
  v1::WatchResponse state = FakeLead::ready_state();
  state.set_state(v1::PIPELINE_STATE_DRAINING);
  state.set_drain_left_ms(60'000);
  lead.set_state(state);
  run_until([&] { return a.drain_end && b.drain_end; });
  EXPECT_EQ(pool_->num_ready(), 0U);
  EXPECT_GT(*b.drain_end, now() + std::chrono::seconds(20));
  EXPECT_LE(*b.drain_end, now() + std::chrono::seconds(60));
  lead.await_cancelled(handle_a.sequence_id);
  b.drain_end.reset();
  a.drain_end.reset();
  lead.set_state(state);  // again and again
  run_until([&] { return b.drain_end.has_value(); });
  EXPECT_FALSE(a.drain_end);
  lead.send_tokens(lead.started(1).sequence_id(), {1}, v1::FINISH_REASON_LENGTH);
  run_until([&] { return b.is_over; });
}

TEST_F(PipelinePoolTest, SequencesOfADrainingLeadThatEndsAreToldSo) {
  auto lead = std::make_unique<FakeLead>(FakeLead::ready_state());
  connect({lead->address()});
  await_ready(1);
  RecordingEvents events;
  ASSERT_TRUE(start(events).ok());
  run_until([&] { return lead->num_started() == 1; });
  v1::WatchResponse state = FakeLead::ready_state();
  state.set_state(v1::PIPELINE_STATE_DRAINING);
  lead->set_state(state);
  await_ready(0);
  lead.reset();
  run_until([&] { return events.lost.has_value(); });
  EXPECT_EQ(events.lost, MoveReason::kDraining);
}

TEST_F(PipelinePoolTest, LeadOfAnotherWireVersionIsNotUsed) {
  v1::WatchResponse state = FakeLead::ready_state();
  state.set_wire_version(kPipelineWireVersion + 1);
  FakeLead newer(state);
  FakeLead right(FakeLead::ready_state());
  connect({newer.address(), right.address()});
  await_ready(1);
  RecordingEvents events;
  EXPECT_EQ(start(events)->pipeline, 2U);
  newer.set_state(FakeLead::ready_state());  // it was replaced
  await_ready(2);
}

TEST_F(PipelinePoolTest, PipelineToAvoidIsTakenOnlyWhenNoOtherHasRoom) {
  options_.room = {.max_sequences = 1, .max_prompt_tokens = 100};
  FakeLead first(FakeLead::ready_state());
  FakeLead second(FakeLead::ready_state());
  connect({first.address(), second.address()});
  await_ready(2);
  const auto choose_not_first = [&] {
    return pool_->choose({.request = request_, .num_sequences = 1, .num_generated = 3, .avoid = 1}).value();
  };
  for (int i = 0; i < 30; ++i) EXPECT_EQ(choose_not_first(), 2U);
  RecordingEvents events;
  pool_->start(2, sequence(), events);
  EXPECT_EQ(choose_not_first(), 1U);
}

TEST_F(PipelinePoolTest, GeneratedTokensOfAMoveTakeRoomToo) {
  options_.room = {.max_sequences = 10, .max_prompt_tokens = 100};
  FakeLead lead(FakeLead::ready_state());
  connect({lead.address()});
  await_ready(1);
  RecordingEvents events;
  ASSERT_TRUE(start(events).ok());
  EXPECT_TRUE(pool_->choose({.request = request_, .num_sequences = 1, .num_generated = 98}).value());
  EXPECT_FALSE(pool_->choose({.request = request_, .num_sequences = 1, .num_generated = 99}).value());
}

TEST_F(PipelinePoolTest, LeastLoadedPipelineGetsTheSequence) {
  FakeLead busy(FakeLead::ready_state("nano", 1600, 2));
  FakeLead idle(FakeLead::ready_state("nano", 1600, 0));
  connect({busy.address(), idle.address()});
  await_ready(2);
  RecordingEvents events[4];
  std::vector<size_t> chosen;
  for (RecordingEvents& each : events) chosen.push_back(start(each).value().pipeline);
  EXPECT_EQ(chosen[0], 2U);
  EXPECT_EQ(chosen[1], 2U);
  // Both have two now: they take turns.
  EXPECT_NE(chosen[2], chosen[3]);
  run_until([&] { return busy.num_started() == 1 && idle.num_started() == 3; });
}

TEST_F(PipelinePoolTest, WaitingSequencesAreLoadToo) {
  v1::WatchResponse queued = FakeLead::ready_state();
  queued.set_waiting_sequences(5);
  FakeLead busy(queued);
  FakeLead idle(FakeLead::ready_state("nano", 1600, 4));
  connect({busy.address(), idle.address()});
  await_ready(2);
  RecordingEvents events;
  EXPECT_EQ(start(events)->pipeline, 2U);
}

TEST_F(PipelinePoolTest, OtherVocabularyIsNotUsed) {
  FakeLead other(FakeLead::ready_state("nano", 256000));
  FakeLead smaller(FakeLead::ready_state("nano", 1599));
  FakeLead right(FakeLead::ready_state("nano", 1600));
  connect({other.address(), smaller.address(), right.address()});
  await_ready(1);
  EXPECT_EQ(pool_->model()->vocab_size, 1600U);
  RecordingEvents events;
  EXPECT_EQ(start(events)->pipeline, 3U);
}

TEST_F(PipelinePoolTest, PaddedVocabularyIsUsed) {
  FakeLead lead(FakeLead::ready_state("nano", 1664));
  connect({lead.address()});
  await_ready(1);
}

TEST_F(PipelinePoolTest, OtherModelThanTheFirstIsNotUsed) {
  FakeLead first(FakeLead::ready_state("nano"));
  v1::WatchResponse forming = FakeLead::ready_state("other");
  forming.set_state(v1::PIPELINE_STATE_FORMING);
  FakeLead second(forming);
  connect({first.address(), second.address()});
  await_ready(1);
  second.set_state(FakeLead::ready_state("other"));
  first.set_state(FakeLead::ready_state("nano", 1600, 100));
  v1::WatchResponse shorter = FakeLead::ready_state("nano");
  shorter.mutable_model()->set_max_model_len_tokens(2048);
  RecordingEvents events;
  EXPECT_EQ(start(events)->pipeline, 1U);
  second.set_state(shorter);
  second.set_state(FakeLead::ready_state("nano"));  // the right one at last
  await_ready(2);
  EXPECT_EQ(pool_->model()->name, "nano");
}

TEST_F(PipelinePoolTest, UnreachablePipelineDoesNotHinderOthers) {
  FakeLead lead(FakeLead::ready_state());
  auto gone = std::make_unique<FakeLead>(FakeLead::ready_state());
  const std::string gone_address = gone->address();
  gone.reset();
  connect({gone_address, lead.address()});
  await_ready(1);
  RecordingEvents events;
  EXPECT_EQ(start(events)->pipeline, 2U);
}

TEST_F(PipelinePoolTest, FullPipelinesAreNotChosenUntilRoomComesBack) {
  options_.room = {.max_sequences = 2, .max_prompt_tokens = 100};
  FakeLead lead(FakeLead::ready_state());
  connect({lead.address()});
  await_ready(1);
  RecordingEvents a, b;
  const auto handle_a = start(a).value();
  const auto handle_b = start(b).value();
  EXPECT_FALSE(choose().value());
  num_room_ = 0;
  pool_->cancel(handle_a);
  EXPECT_EQ(num_room_, 1);
  EXPECT_TRUE(choose().value());
  request_.num_choices = 2;
  EXPECT_FALSE(choose().value());
  lead.send_tokens(handle_b.sequence_id, {1}, v1::FINISH_REASON_LENGTH);
  run_until([&] { return b.is_over; });
  EXPECT_GE(num_room_, 2);
  EXPECT_TRUE(choose().value());
}

TEST_F(PipelinePoolTest, APromptWeighsUntilItsFirstToken) {
  options_.room = {.max_sequences = 10, .max_prompt_tokens = 100};
  FakeLead lead(FakeLead::ready_state());
  connect({lead.address()});
  await_ready(1);
  RecordingEvents a;
  ASSERT_TRUE(start(a).ok());
  request_.prompt.resize(100);
  EXPECT_FALSE(choose().value());
  lead.send_tokens(lead.started(0).sequence_id(), {1});
  run_until([&] { return !a.tokens.empty(); });
  EXPECT_TRUE(choose().value());
}

TEST_F(PipelinePoolTest, WhatOtherRoutersSentTakesRoomToo) {
  options_.room = {.max_sequences = 5, .max_prompt_tokens = 100};
  v1::WatchResponse state = FakeLead::ready_state("nano", 1600, 4);
  FakeLead lead(state);
  connect({lead.address()});
  await_ready(1);
  RecordingEvents a;
  ASSERT_TRUE(start(a).ok());
  EXPECT_FALSE(choose().value());
  state.set_running_sequences(5);  // ours and the four
  lead.set_state(state);
  num_room_ = 0;
  run_until([&] { return num_room_ > 0; });
  EXPECT_FALSE(choose().value());
  state.set_running_sequences(2);
  lead.set_state(state);
  run_until([&] { return choose().value().has_value(); });
  state.set_outstanding_prompt_tokens(101);
  lead.set_state(state);
  run_until([&] { return !choose().value(); });
  state.set_outstanding_prompt_tokens(0);
  state.set_total_blocks(100);
  state.set_block_size_tokens(16);
  lead.set_state(state);  // and none is free
  num_room_ = 0;
  run_until([&] { return num_room_ > 0; });
  EXPECT_FALSE(choose().value());
}

TEST_F(PipelinePoolTest, GoesWhereThePromptIsCached) {
  FakeLead first(FakeLead::ready_state());
  FakeLead second(FakeLead::ready_state());
  connect({first.address(), second.address()});
  await_ready(2);
  request_.prompt = {1, 2, 3, 4, 5};
  request_.tenant.name = "tenant";
  v1::WatchResponse state = FakeLead::ready_state();
  state.set_block_size_tokens(2);
  state.mutable_prefix_digest()->set_version(1);
  state.mutable_prefix_digest()->add_added(prefix_hashes("tenant", request_.prompt, 2)[0]);
  const auto is_always = [&](PipelineId id) {
    for (int i = 0; i < 30; ++i) {
      if (choose().value() != id) return false;
    }
    return true;
  };
  second.set_state(state);
  run_until([&] { return is_always(2); });
  request_.tenant.name = "other";
  EXPECT_FALSE(is_always(2)) << "tenants have prefixes of their own";
  request_.tenant.name = "tenant";
  state.mutable_prefix_digest()->add_added(prefix_hashes("tenant", request_.prompt, 2)[1]);
  first.set_state(state);
  run_until([&] { return is_always(1); });
}

TEST_F(PipelinePoolTest, PipelinesComeAndGo) {
  FakeLead first(FakeLead::ready_state());
  FakeLead second(FakeLead::ready_state());
  connect({first.address()});
  await_ready(1);
  RecordingEvents events;
  ASSERT_TRUE(start(events).ok());
  run_until([&] { return first.num_started() == 1; });

  pool_->use({second.address()});
  EXPECT_EQ(pool_->num_ready(), 0U) << "the first takes no more";
  await_ready(1);
  RecordingEvents on_second;
  EXPECT_EQ(start(on_second)->pipeline, 2U);
  lead_finishes(first, events);
  EXPECT_THAT(events.tokens, ElementsAre(1));

  pool_->use({second.address(), first.address()});
  await_ready(2);
  pool_->use({second.address()});
  pool_->use({second.address(), first.address()});
  await_ready(2);
  pool_->use({});
  EXPECT_FALSE(start(events).ok());
  lead_finishes(second, on_second);
}

}  // namespace
}  // namespace octet::router
