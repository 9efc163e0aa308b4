// The engine of the lead stage: plan -> execute -> commit, on one thread that owns the scheduler. Other
// threads reach it through its mailbox; it reaches the stages through StageClient and the routers through
// Subscriber, and waits for neither.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "worker/engine/epoch_run.h"
#include "worker/engine/formation.h"
#include "worker/engine/mailbox.h"
#include "worker/engine/prefix_digest.h"
#include "worker/engine/sequence_table.h"
#include "worker/engine/stage_client.h"
#include "worker/engine/subscriber.h"
#include "worker/lead/scheduler.h"
#include "worker/metrics.h"

namespace octet::worker {

enum class PipelineState {
  kForming,  // stages are missing or joining; sequences are kept
  kReady,
  kDraining,  // finishes its sequences and takes no more
  kStalled,   // the engine's thread hangs
};

struct EngineStatus {
  PipelineState state = PipelineState::kForming;
  uint64_t epoch = 0;
  SchedulerStats scheduler;
  size_t num_sequences = 0;          // not ended
  Time step_deadline = kNoDeadline;  // by when the work in flight must make progress
  std::optional<Time> last_step;     // when the last step was committed
  Time drain_end = kNoDeadline;      // when the process ends, once it drains
};

class Engine {
 public:
  struct Config {
    SchedulerConfig scheduler;  // num_blocks comes from the formation
    Duration join_timeout = std::chrono::seconds(30);
    Duration step_timeout = std::chrono::seconds(10);
  };
  Engine(const Config& config, Formation formation, StageClientFactory make_client, WorkerMetrics& metrics);
  ~Engine();

  // Starts the loop; called once. on_state_change is called on the engine's thread and must not block.
  void start(std::function<void(PipelineState)> on_state_change);
  // Ends the loop, the epoch and every subscriber's stream; returns when the loop has ended.
  void stop();

  // All of the following from any thread, without waiting.

  SubscriberId subscribe(std::shared_ptr<Subscriber> subscriber);
  void unsubscribe(SubscriberId subscriber);
  // A refusal comes as news of the sequence. False when too many submissions wait for the engine.
  bool submit(SubscriberId subscriber, uint64_t router_sequence_id, NewSequence sequence,
              uint32_t output_interval = 1);
  bool cancel(SubscriberId subscriber, uint64_t router_sequence_id);
  // Calls `answer` exactly once, with the epoch in force or why the stage cannot be used.
  void register_stage(Registration registration, std::function<void(const absl::StatusOr<uint64_t>&)> answer);
  // Takes nothing new from now on; end: when the process ends, done or not.
  void drain(Time end);
  // As of the loop's last turn; kStalled when that should have been followed by another one long ago.
  EngineStatus status() const;
  // Null without a prefix cache.
  const PrefixDigest* prefix_digest() const {
    return config_.scheduler.prefix_cache ? &prefix_digest_ : nullptr;
  }

 private:
  void run();
  void finish(std::vector<Event>& unhandled);
  void handle(SubscribeEvent& event);
  void handle(SubmitEvent& event);
  void handle(CancelEvent& event);
  void handle(UnsubscribeEvent& event);
  void handle(RegisterEvent& event);
  void handle(JoinedEvent& event);
  void handle(ResultEvent& event);
  void handle(LostEvent& event);
  void handle(DrainEvent& event);

  void watch_deadlines(Time time);
  void form(Time time);
  void plan_and_execute();
  void commit(const StepResult& result, const EpochRun::Step& step);
  void deliver();
  void publish();
  Time next_wake() const;

  bool current(uint64_t epoch) const { return run_ && run_->epoch() == epoch; }
  void end_epoch(const absl::Status& reason);
  void start_scheduler(uint32_t num_blocks);
  void admit(NewSequence sequence);
  void end_sequence(SequenceId id, SequenceNews news, const char* reason);
  void report(std::vector<SequenceUpdate> updates);
  void cancel_subscriber(SubscriberId subscriber);
  PipelineState state() const;
  bool hangs(const EngineStatus& status, Time time) const;

  const Config config_;
  const StageClientFactory make_client_;
  WorkerMetrics& metrics_;
  std::function<void(PipelineState)> on_state_change_;  // set by start()
  const std::shared_ptr<Mailbox> mailbox_;
  std::atomic<SubscriberId> next_subscriber_{1};

  PrefixDigest prefix_digest_;  // outlives the scheduler, which writes it

  // Of the engine's thread.
  Formation formation_;
  std::unique_ptr<Scheduler> scheduler_;  // from the first formation on, which tells its blocks
  std::vector<NewSequence> early_;        // submitted before
  SequenceTable table_;
  std::unique_ptr<EpochRun> run_;
  std::optional<Time> drain_end_;  // once it drains
  SchedulerStats counted_;         // what the counters have counted
  std::optional<Time> last_step_;

  mutable std::mutex status_mutex_;
  EngineStatus status_;

  std::thread thread_;  // runs over all of the above
};

}  // namespace octet::worker
