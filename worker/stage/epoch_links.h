// The links of the epoch that runs, and why it ended once it has.
#pragma once

#include <mutex>

#include "absl/status/status.h"
#include "worker/link/link.h"

namespace octet::worker {

class EpochLinks {
 public:
  // Starts an epoch with these links; ends the one before. Not while one of its links is in use.
  void open(StageLinks links);

  // Ends the epoch: closes its links, which wakes who waits in them. The first reason stays. From any thread.
  void close(const absl::Status& reason);

  // Why no epoch runs; OK while one does. From any thread.
  absl::Status failure() const;

  // The rank's link, valid until open(); nullptr on the first or last stage.
  Link* from_previous(int rank) const;
  Link* to_next(int rank) const;

 private:
  mutable std::mutex mutex_;
  StageLinks links_;
  absl::Status failure_ = absl::FailedPreconditionError("no epoch has started");
};

}  // namespace octet::worker
