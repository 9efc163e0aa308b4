// What the ranks of a stage do together: NCCL between their devices, and a word between their host threads.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "kernels/cuda/deadline.h"

struct ncclComm;  // what an ncclComm_t points to; nccl.h is for rank_group.cc only

namespace octet::kernels::cuda {

class Queue;  // launch.h

// Shared by the ranks of one process; each calls from a thread of its own. Its communicators do not block:
// where NCCL fails, or is not done after a timeout, the process ends with a line that says so.
class RankGroup {
 public:
  // devices: [num_ranks], a device for each rank. join_timeout: for making the communicators; step_timeout:
  // for whatever comes after.
  RankGroup(const std::vector<int>& devices, Timeout join_timeout, Timeout step_timeout);
  ~RankGroup();
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;

  int num_ranks() const { return static_cast<int>(comms_.size()); }

  // On the rank's queue. data: [count] fp32; gathered: [num_ranks * count] fp32.
  void all_reduce(int rank, float* data, int64_t count, Queue& queue);
  void all_gather(int rank, const float* data, float* gathered, int64_t count, Queue& queue);

  // Ends the process if NCCL has noticed an error since: a rank that waits for its device asks now and then.
  void check_health(int rank);

  // Whether every rank passed true. Waits for all of them.
  bool all_agree(bool ok);

 private:
  // Whether the communicator has done what it was last told; `what` names that where it failed.
  bool is_settled(int rank, const char* what);
  // Until it has.
  void settle(int rank, Timeout timeout, const char* what);
  ncclComm* comm(int rank) const { return comms_[static_cast<size_t>(rank)]; }

  std::vector<ncclComm*> comms_;  // [num_ranks]
  const Timeout step_timeout_;

  std::mutex mutex_;  // of what follows
  std::condition_variable met_;
  int num_arrived_ = 0;
  bool all_ok_ = true;
  bool agreed_ = true;  // of the last meeting
  uint64_t meeting_ = 0;
};

}  // namespace octet::kernels::cuda
