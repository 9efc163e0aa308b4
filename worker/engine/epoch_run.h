// One formation of the pipeline, from the first join to its end: the clients of its stages and the plans in
// flight. Owned by the engine's thread; never blocks.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "worker/engine/formation.h"
#include "worker/engine/stage_client.h"

namespace octet::worker {

class EpochRun {
 public:
  struct Timeouts {
    Duration join;  // also of the warm-up
    Duration step;
  };
  enum class Phase { kJoining, kWarmingUp, kServing };

  // Starts to join all stages at once.
  EpochRun(const EpochPlan& plan, const Timeouts& timeouts, const StageClientFactory& make_client,
           std::shared_ptr<StageEvents> events, Time now);

  uint64_t epoch() const { return epoch_; }
  Phase phase() const { return phase_; }
  int last_stage() const { return static_cast<int>(stages_.size()) - 1; }

  // A stage answered join(); after the last one the warm-up goes out. An error means the end of the epoch.
  absl::Status joined(int stage, const absl::Status& status, Time now);

  struct Step {
    Time planned;  // when its scheduling began
    Time sent;
  };
  // Sends a plan to every stage. `planned` is when its scheduling began.
  void execute(BatchPlan plan, Time planned, Time now);
  // A stage answered a plan. Gives the plan's step when this was the answer of the last stage to a plan of
  // execute(), which is then to be committed. An error means the end of the epoch.
  absl::StatusOr<std::optional<Step>> answered(int stage, const StepResult& result, Time now);

  // When the next answer must be here; kNoDeadline while nothing is in flight.
  Time deadline() const;
  // The stages that are waited for: those that have not joined, or not answered the oldest step that any has
  // still to answer. One of them hangs; a stage that waits for another one's activations is among them too.
  std::vector<int> late_stages() const;

 private:
  struct StageState {
    std::unique_ptr<StageClient> client;
    bool joined = false;
    uint64_t next_step = 0;  // that it must answer; 0 is the warm-up
  };
  void send(BatchPlan plan);

  const uint64_t epoch_;
  const Timeouts timeouts_;
  Phase phase_ = Phase::kJoining;
  std::vector<StageState> stages_;
  uint64_t num_sent_ = 0;  // plans, the warm-up included; step numbers follow it
  std::deque<Step> in_flight_;
  Time last_progress_;
};

}  // namespace octet::worker
