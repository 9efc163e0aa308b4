#include "kernels/cuda/rank_group.h"

#include <nccl.h>

#include "base/check.h"
#include "kernels/cuda/launch.h"

namespace octet::kernels::cuda {
namespace {

void check(ncclResult_t result, const char* what) {
  OCTET_CHECK(result == ncclSuccess, what, ": ", ncclGetErrorString(result));
}

}  // namespace

RankGroup::RankGroup(const std::vector<int>& devices) : comms_(devices.size()) {
  check(ncclCommInitAll(comms_.data(), num_ranks(), devices.data()), "ncclCommInitAll");
}

RankGroup::~RankGroup() {
  for (const ncclComm_t comm : comms_) ncclCommDestroy(comm);
}

void RankGroup::all_reduce(int rank, float* data, int64_t count, Queue& queue) {
  if (queue.notes(ncclSum, data, count)) return;
  check(ncclAllReduce(data, data, static_cast<size_t>(count), ncclFloat32, ncclSum,
                      comms_[static_cast<size_t>(rank)], queue.stream()),
        "ncclAllReduce");
}

void RankGroup::all_gather(int rank, const float* data, float* gathered, int64_t count, Queue& queue) {
  if (queue.notes(data, gathered, count)) return;
  check(ncclAllGather(data, gathered, static_cast<size_t>(count), ncclFloat32,
                      comms_[static_cast<size_t>(rank)], queue.stream()),
        "ncclAllGather");
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
