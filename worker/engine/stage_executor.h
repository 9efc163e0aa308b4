// The thread that a process's Stage runs on: it takes joins and plans in order, so nothing that calls it
// waits for links or for computing. The lead's own stage and every other stage run on one of these.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>

#include "absl/status/status.h"
#include "base/clock.h"
#include "worker/batch/batch_plan.h"
#include "worker/batch/step_result.h"
#include "worker/engine/stage_client.h"
#include "worker/link/link.h"
#include "worker/stage/pipeline_stage.h"

namespace octet::worker {

class StageExecutor {
 public:
  // listener: where the previous stage connects; null on stage 0. Both outlive the executor.
  StageExecutor(PipelineStage& stage, TcpLinkListener* listener);
  ~StageExecutor();

  // Ends the epoch, waits for what runs and takes nothing more. From any one thread, as often as it likes.
  void stop();

  // Ends any earlier epoch, builds the links and starts the new one. `done` is called exactly once, from this
  // call, the executor's thread or stop(). Errors: FAILED_PRECONDITION for an epoch that is not newer
  // or more blocks than the stage has; those of the links; CANCELLED when a newer join or the end overtakes
  // this one.
  void join(const JoinCommand& command, std::function<void(const absl::Status&)> done);
  // Queues a plan of the epoch; `done` is called on the executor's thread. A plan of another epoch, or after
  // a step that failed, is dropped without an answer.
  void execute(uint64_t epoch, std::shared_ptr<const BatchPlan> plan, std::function<void(StepResult)> done);
  // Ends the epoch if it is the newest, joined or being joined: what runs fails soon, what is queued is
  // dropped.
  void end_epoch(uint64_t epoch);

  uint64_t last_epoch() const;  // the largest that was joined, or is being joined
  // When the plan that runs now began, if one does.
  std::optional<Time> busy_since() const;
  std::optional<Time> last_step() const;

 private:
  struct Join {
    JoinCommand command;
    std::function<void(const absl::Status&)> done;
    std::stop_token stop;  // requested when the epoch has ended before it came to be
  };
  struct Plan {
    uint64_t epoch;
    std::shared_ptr<const BatchPlan> plan;
    Time arrived;
    std::function<void(StepResult)> done;
  };

  void run();
  absl::Status build_epoch(const Join& join);
  void execute_now(const Plan& plan, Duration idle);
  void end_epoch_locked();

  PipelineStage& stage_;
  TcpLinkListener* const listener_;

  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::optional<Join> join_;  // the newest, not begun
  std::stop_source joining_;  // of the newest
  std::deque<Plan> plans_;    // of epoch_
  uint64_t last_epoch_ = 0;
  uint64_t epoch_ = 0;  // whose plans are taken; 0: none
  std::optional<Time> busy_since_;
  std::optional<Time> last_step_;
  bool stopped_ = false;

  std::thread thread_;  // last: runs over all of the above
};

}  // namespace octet::worker
