#include "kernels/cuda/rank_group.h"

#include <nccl.h>

#include <string>

#include "kernels/cuda/deadline.h"
#include "kernels/cuda/launch.h"

namespace octet::kernels::cuda {
namespace {

// Of a call that may return before it is done. comm: whose last words to print, or none.
void check(ncclResult_t result, const char* what, ncclComm* comm = nullptr) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  const char* const detail = comm == nullptr ? "" : ncclGetLastError(comm);
  end_process(std::string("NCCL between the GPUs of this stage: ") + what + ": " +
              ncclGetErrorString(result) +
              (detail == nullptr || *detail == '\0' ? "" : std::string(", ") + detail));
}

}  // namespace

// As in NCCL's own example of non-blocking communicators of one process:
// https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/usage/communicators.html
RankGroup::RankGroup(const std::vector<int>& devices, Timeout join_timeout, Timeout step_timeout)
    : comms_(devices.size()), step_timeout_(step_timeout) {
  ncclUniqueId id;
  check(ncclGetUniqueId(&id), "ncclGetUniqueId");
  check(ncclGroupStart(), "ncclGroupStart");
  for (int rank = 0; rank < num_ranks(); ++rank) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    check(cudaSetDevice(devices[static_cast<size_t>(rank)]), "cudaSetDevice");
    check(ncclCommInitRankConfig(&comms_[static_cast<size_t>(rank)], num_ranks(), id, rank, &config),
          "ncclCommInitRankConfig");
  }
  check(ncclGroupEnd(), "ncclGroupEnd");
  for (int rank = 0; rank < num_ranks(); ++rank) settle(rank, join_timeout, "making the communicators");
}

RankGroup::~RankGroup() {
  for (const ncclComm_t comm : comms_) check(ncclCommFinalize(comm), "ncclCommFinalize", comm);
  for (int rank = 0; rank < num_ranks(); ++rank) settle(rank, step_timeout_, "ending the communicators");
  for (const ncclComm_t comm : comms_) ncclCommDestroy(comm);
}

bool RankGroup::is_settled(int rank, const char* what) {
  ncclResult_t state = ncclSuccess;
  check(ncclCommGetAsyncError(comm(rank), &state), "ncclCommGetAsyncError", comm(rank));
  check(state, what, comm(rank));
  return state != ncclInProgress;
}

void RankGroup::settle(int rank, Timeout timeout, const char* what) {
  wait_until([&] { return is_settled(rank, what); }, timeout,
             [&] { return "rank " + std::to_string(rank) + ": NCCL has not finished " + what; });
}

void RankGroup::check_health(int rank) {
  is_settled(rank, "an error on the way");
}

void RankGroup::all_reduce(int rank, float* data, int64_t count, Queue& queue) {
  if (queue.notes(ncclSum, data, count)) return;
  const ncclResult_t result =
      ncclAllReduce(data, data, static_cast<size_t>(count), ncclFloat32, ncclSum, comm(rank), queue.stream());
  check(result, "ncclAllReduce", comm(rank));
  if (result == ncclInProgress) settle(rank, step_timeout_, "ncclAllReduce");
}

void RankGroup::all_gather(int rank, const float* data, float* gathered, int64_t count, Queue& queue) {
  if (queue.notes(data, gathered, count)) return;
  const ncclResult_t result =
      ncclAllGather(data, gathered, static_cast<size_t>(count), ncclFloat32, comm(rank), queue.stream());
  check(result, "ncclAllGather", comm(rank));
  if (result == ncclInProgress) settle(rank, step_timeout_, "ncclAllGather");
}

bool RankGroup::all_agree(bool ok) {
  if (num_ranks() == 1) return ok;
  std::unique_lock lock(mutex_);
  all_ok_ = all_ok_ && ok;
  const uint64_t meeting = meeting_;
  if (++num_arrived_ == num_ranks()) {
    agreed_ = all_ok_;
    all_ok_ = true;
    num_arrived_ = 0;
    ++meeting_;
    met_.notify_all();
    return agreed_;
  }
  // The next meeting cannot end before this rank comes to it, so agreed_ stays.
  met_.wait(lock, [&] { return meeting_ != meeting; });
  return agreed_;
}

}  // namespace octet::kernels::cuda
