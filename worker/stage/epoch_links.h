// What a stage hands over to its neighbours by in the epoch that runs, and why it ended once it has.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "worker/link/link.h"
#include "worker/stage/hand_off.h"

namespace octet::worker {

class EpochLinks {
 public:
  // Starts an epoch with these links, each of the rank of its place; ends the one before. Not while one of
  // its hand-offs is in use.
  void open(StageLinks links, std::span<const std::unique_ptr<kernels::Backend>> ranks);

  // Ends the epoch: closes its links, which wakes who waits in them. The first reason stays. From any thread.
  void close(const absl::Status& reason);

  // Why no epoch runs; OK while one does. From any thread.
  absl::Status failure() const;

  // The rank's, valid until open(); nullptr on the first or last stage.
  HandOff* from_previous(int rank) const;
  HandOff* to_next(int rank) const;

 private:
  using HandOffs = std::vector<std::unique_ptr<HandOff>>;  // [num_ranks] or none

  mutable std::mutex mutex_;
  HandOffs from_previous_;
  HandOffs to_next_;
  absl::Status failure_ = absl::FailedPreconditionError("no epoch has started");
};

}  // namespace octet::worker
