// How a pipeline comes together: which stages have registered, whether they fit each other, and which epoch
// they form. Arithmetic only; the engine's thread owns it and does what it says.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "worker/engine/stage_client.h"

namespace octet::worker {

// The next epoch, all stages of it.
struct EpochPlan {
  uint64_t epoch = 0;
  std::vector<Registration> stages;  // [num_stages]; stage 0 is the lead
  uint32_t num_blocks = 0;           // the smallest over the stages
};

class Formation {
 public:
  struct Options {
    Duration registration_lifetime =
        std::chrono::seconds(3);  // a stage repeats its registration every second
    Duration min_retry =
        std::chrono::milliseconds(100);  // after a failed epoch, doubled by each one in a row
    Duration max_retry = std::chrono::seconds(5);
  };
  // layers: [num_stages], what each stage must hold.
  Formation(StageDescription lead, std::vector<LayerRange> layers, const Options& options);

  // A stage reports for duty. Errors: FAILED_PRECONDITION naming what differs, "stage 1 has model digest X,
  // the lead Y".
  absl::Status register_stage(const Registration& registration, Time now);

  // The next epoch, when every stage has registered lately, none is in force and the time to try again has
  // come.
  std::optional<EpochPlan> begin(Time now);
  // When begin() is worth another call without a new registration.
  Time retry_time() const;

  // The epoch that begin() gave ended, or never came to be; its stages must register again.
  void ended(Time now);
  // The epoch in force has finished a step, so the next failure is the first in a row.
  void worked();

  uint64_t epoch() const { return epoch_; }  // the last one begun, 0 before the first
  int num_stages() const { return lead_.num_stages; }
  // Stages without a registration, for a log line.
  std::vector<int> missing(Time now) const;

 private:
  struct Entry {
    Registration registration;
    Time seen;
  };
  absl::Status check(const StageDescription& stage) const;
  bool fresh(const Entry& entry, Time now) const { return now - entry.seen < options_.registration_lifetime; }

  StageDescription lead_;
  std::vector<LayerRange> layers_;
  Options options_;
  std::map<int, Entry> registered_;  // stages 1 and up
  uint64_t epoch_ = 0;
  std::optional<uint32_t> num_blocks_;  // of the first epoch; sequences were admitted by it
  bool in_force_ = false;
  int failures_in_a_row_ = 0;
  Time retry_time_ = Time::min();
};

}  // namespace octet::worker
