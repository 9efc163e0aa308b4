#include "router/routing/pipeline_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
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
  void on_lost(const absl::Status& status) override {
    OCTET_CHECK(!lost && !is_over, "a call after the last one");
    lost = status;
    if (when_lost) when_lost();
  }

  std::vector<uint32_t> tokens;
  bool is_over = false;
  std::optional<absl::Status> lost;
  std::function<void()> when_lost;
};

class PipelinePoolTest : public testing::Test {
 protected:
  PipelinePoolTest() {
    options_.silence_timeout = std::chrono::minutes(5);
    options_.min_backoff = std::chrono::milliseconds(5);
    options_.max_backoff = std::chrono::milliseconds(50);
  }

  void connect(const std::vector<std::string>& addresses) {
    pool_.emplace(loop_, addresses, options_, 1600, metrics_, [this] { ++num_changes_; });
    pool_->connect();
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
  v1::StartSequence sequence() const {
    v1::StartSequence start;
    start.add_prompt_tokens(7);
    start.set_max_tokens(4);
    return start;
  }

  boost::asio::io_context loop_;
  RouterMetrics metrics_;
  PipelineClientOptions options_;
  int num_changes_ = 0;
  std::optional<PipelinePool> pool_;
};

TEST_F(PipelinePoolTest, IsReadyWhileTheLeadIs) {
  v1::WatchResponse state = FakeLead::ready_state();
  state.set_state(v1::PIPELINE_STATE_FORMING);
  FakeLead lead(state);
  connect({lead.address()});
  EXPECT_EQ(pool_->num_ready(), 0U);
  RecordingEvents events;
  const auto refused = pool_->start(sequence(), events);
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

TEST_F(PipelinePoolTest, SequencesRunAndEnd) {
  FakeLead lead(FakeLead::ready_state());
  connect({lead.address()});
  await_ready(1);
  RecordingEvents a, b;
  ASSERT_TRUE(pool_->start(sequence(), a).ok());
  ASSERT_TRUE(pool_->start(sequence(), b).ok());
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
  const auto handle = pool_->start(sequence(), cancelled).value();
  ASSERT_TRUE(pool_->start(sequence(), other).ok());
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
  const auto first_handle = pool_->start(sequence(), first).value();
  const auto cancelled_handle = pool_->start(sequence(), cancelled).value();
  pool_->cancel(cancelled_handle);
  const auto last_handle = pool_->start(sequence(), last).value();
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
  ASSERT_TRUE(pool_->start(sequence(), a).ok());
  ASSERT_TRUE(pool_->start(sequence(), b).ok());
  run_until([&] { return lead->num_started() == 2; });
  lead.reset();
  await_ready(0);
  run_until([&] { return a.lost && b.lost; });
  EXPECT_EQ(a.lost->code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(retry_after_of(*a.lost));
  EXPECT_THAT(std::string(a.lost->message()), testing::Not(HasSubstr("127.0.0.1")));
  EXPECT_FALSE(pool_->start(sequence(), c).ok());

  lead = std::make_unique<FakeLead>(FakeLead::ready_state(), port);
  await_ready(1);
  ASSERT_TRUE(pool_->start(sequence(), c).ok());
  run_until([&] { return lead->num_started() == 1; });
  EXPECT_GT(lead->started(0).sequence_id(), 2U);  // ids are not used again
}

TEST_F(PipelinePoolTest, SequencesMayBeCancelledWhileOthersAreLost) {
  auto lead = std::make_unique<FakeLead>(FakeLead::ready_state());
  connect({lead->address()});
  await_ready(1);
  RecordingEvents a, b;
  const auto handle_a = pool_->start(sequence(), a).value();
  const auto handle_b = pool_->start(sequence(), b).value();
  a.when_lost = [&] { pool_->cancel(handle_b); };
  b.when_lost = [&] { pool_->cancel(handle_a); };
  run_until([&] { return lead->num_started() == 2; });
  lead.reset();
  await_ready(0);
  EXPECT_NE(a.lost.has_value(), b.lost.has_value());  // the other was cancelled and heard nothing
}

TEST_F(PipelinePoolTest, SilentLeadIsLost) {
  options_.silence_timeout = std::chrono::milliseconds(100);
  FakeLead lead(FakeLead::ready_state());  // speaks only once
  connect({lead.address()});
  await_ready(1);
  RecordingEvents events;
  ASSERT_TRUE(pool_->start(sequence(), events).ok());
  run_until([&] { return events.lost.has_value(); });
  await_ready(1);  // and connected to again
}

TEST_F(PipelinePoolTest, LeastLoadedPipelineGetsTheSequence) {
  FakeLead busy(FakeLead::ready_state("nano", 1600, 2));
  FakeLead idle(FakeLead::ready_state("nano", 1600, 0));
  connect({busy.address(), idle.address()});
  await_ready(2);
  RecordingEvents events[4];
  std::vector<size_t> chosen;
  for (RecordingEvents& each : events) chosen.push_back(pool_->start(sequence(), each).value().pipeline);
  EXPECT_EQ(chosen[0], 1U);
  EXPECT_EQ(chosen[1], 1U);
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
  EXPECT_EQ(pool_->start(sequence(), events)->pipeline, 1U);
}

TEST_F(PipelinePoolTest, OtherVocabularyIsNotUsed) {
  FakeLead other(FakeLead::ready_state("nano", 256000));
  FakeLead smaller(FakeLead::ready_state("nano", 1599));
  FakeLead right(FakeLead::ready_state("nano", 1600));
  connect({other.address(), smaller.address(), right.address()});
  await_ready(1);
  EXPECT_EQ(pool_->model()->vocab_size, 1600U);
  RecordingEvents events;
  EXPECT_EQ(pool_->start(sequence(), events)->pipeline, 2U);
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
  EXPECT_EQ(pool_->start(sequence(), events)->pipeline, 0U);
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
  EXPECT_EQ(pool_->start(sequence(), events)->pipeline, 1U);
}

TEST(PipelineAddressesTest, EachIsHostAndPort) {
  EXPECT_TRUE(check_pipeline_addresses({"localhost:50061", "10.0.0.1:1", "[::1]:65535"}).ok());
  for (const char* bad : {"", "localhost", ":50061", "host:", "host:0", "host:65536", "host:5x", "host:-1"}) {
    const absl::Status status = check_pipeline_addresses({"good:1", bad});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--pipeline")) << bad;
  }
  EXPECT_FALSE(check_pipeline_addresses({}).ok());
  EXPECT_FALSE(check_pipeline_addresses({"a:1", "a:1"}).ok());
}

}  // namespace
}  // namespace octet::router
