// Collectives between the ranks of a process: they meet, and the last one computes for all. What a pair sends
// is in nccl_pair.cc.
#include "tests/cuda_emulator/include/nccl.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda_emulator/device_memory.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/cuda_emulator/nccl_pair.h"
#include "tests/cuda_emulator/stream.h"

namespace cuda_emulator {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::minutes kPatience{1};     // with ranks that do not come
constexpr std::chrono::milliseconds kSlice{10};  // of it, between looks at other things

std::atomic<ncclResult_t> nccl_state{ncclSuccess};
thread_local int group_depth = 0;  // ncclGroupStart() calls that have not ended

enum class Collective { kAllReduce, kAllGather };

// What one rank brings to a collective.
struct Call {
  Collective collective = Collective::kAllReduce;
  const float* from = nullptr;
  float* to = nullptr;
  size_t count = 0;
};

// All ranks of a communicator.
class Group {
 public:
  explicit Group(int num_ranks) : calls_(static_cast<size_t>(num_ranks)) {}

  int num_ranks() const { return static_cast<int>(calls_.size()); }

  void join() { ++num_joined_; }
  bool is_complete() const { return num_joined_ == num_ranks(); }

  // The meeting that the rank has now come to; the last one computes for all.
  uint64_t arrive(int rank, const Call& call) {
    const std::lock_guard lock(mutex_);
    calls_[static_cast<size_t>(rank)] = call;
    const uint64_t meeting = meeting_;
    if (++num_arrived_ == calls_.size()) {
      problem_ = compute();
      num_arrived_ = 0;
      ++meeting_;
      met_.notify_all();
    }
    return meeting;
  }

  // What went wrong in the meeting, or "" when the results are there; nothing while others are missing, for
  // whom it waits a little. The rank has come to no later meeting.
  std::optional<std::string> outcome(uint64_t meeting) {
    std::unique_lock lock(mutex_);
    if (!met_.wait_for(lock, kSlice, [&] { return meeting_ != meeting; })) return std::nullopt;
    return problem_;
  }

 private:
  std::string compute() {
    const Call& first = calls_.front();
    for (const Call& call : calls_) {
      if (call.collective != first.collective) return "the ranks are in different collectives";
      if (call.count != first.count) {
        return "ranks bring " + std::to_string(first.count) + " and " + std::to_string(call.count) +
               " elements";
      }
    }
    if (first.collective == Collective::kAllReduce) {
      // As a ring does, it begins with another rank in each part of the data.
      std::vector<float> sum(first.count);
      for (size_t i = 0; i < sum.size(); ++i) {
        const size_t start = i * calls_.size() / sum.size();
        for (size_t k = 0; k < calls_.size(); ++k) sum[i] += calls_[(start + k) % calls_.size()].from[i];
      }
      for (const Call& call : calls_) std::memcpy(call.to, sum.data(), sum.size() * sizeof(float));
      return "";
    }
    std::vector<float> all;
    for (const Call& call : calls_) all.insert(all.end(), call.from, call.from + call.count);
    for (const Call& call : calls_) std::memcpy(call.to, all.data(), all.size() * sizeof(float));
    return "";
  }

  std::atomic<int> num_joined_{0};
  std::mutex mutex_;
  std::condition_variable met_;
  std::vector<Call> calls_;  // [num_ranks]
  size_t num_arrived_ = 0;
  uint64_t meeting_ = 0;
  std::string problem_;
};

// One rank's part of a collective, as work of its stream.
class Visit {
 public:
  Visit(std::shared_ptr<Group> group, int rank, int device, const Call& call)
      : group_(std::move(group)), rank_(rank), device_(device), call_(call) {}

  bool operator()() {
    if (!meeting_) {
      meeting_ = group_->arrive(rank_, call_);
      since_ = Clock::now();
    }
    std::optional<std::string> problem = group_->outcome(*meeting_);
    if (!problem) {
      if (Clock::now() - since_ < kPatience) return false;
      problem = "rank " + std::to_string(rank_) + " of " + std::to_string(group_->num_ranks()) +
                " waits for the others";
    }
    if (!problem->empty()) record_fault(device_, "NCCL: " + *problem);
    return true;
  }

 private:
  std::shared_ptr<Group> group_;
  int rank_;
  int device_;
  Call call_;
  std::optional<uint64_t> meeting_;  // once it has come
  Clock::time_point since_;
};

// Groups that are being made, by the port in their id.
struct Groups {
  std::mutex mutex;
  std::map<uint16_t, std::shared_ptr<Group>> of_port;
};
Groups& groups() {
  static Groups groups;
  return groups;
}

bool holds(const void* memory, size_t count) {
  const auto address = reinterpret_cast<uintptr_t>(memory);
  const auto allocation = device_memory().find(address);
  return allocation && address - allocation->begin + count * sizeof(float) <= allocation->num_bytes;
}

}  // namespace

void set_nccl_state(ncclResult_t state) {
  nccl_state = state;
}

}  // namespace cuda_emulator

struct ncclComm {
  std::shared_ptr<cuda_emulator::Group> group;  // or
  std::shared_ptr<cuda_emulator::Pair> pair;
  int rank = 0;
  int device = 0;
};

namespace {

using namespace cuda_emulator;

bool belong_together(ncclComm_t comm, cudaStream_t stream) {
  return comm != nullptr && stream != nullptr && device_of(stream) == comm->device;
}

// Of ranks of this process, which all join on one thread, as NCCL wants it then.
std::shared_ptr<Group> join_group(uint16_t port, int num_ranks) {
  const std::lock_guard lock(groups().mutex);
  std::shared_ptr<Group>& entry = groups().of_port[port];
  if (entry == nullptr) entry = std::make_shared<Group>(num_ranks);
  const std::shared_ptr<Group> group = entry;
  if (group->num_ranks() != num_ranks) return nullptr;
  group->join();
  if (group->is_complete()) {
    groups().of_port.erase(port);
    close_port(port);
  }
  return group;
}

ncclResult_t put(ncclComm_t comm, cudaStream_t stream, const Call& call, size_t to_count) {
  if (!belong_together(comm, stream)) return ncclInvalidArgument;
  if (comm->group == nullptr) return ncclInvalidUsage;
  if (!holds(call.from, call.count) || !holds(call.to, to_count)) return ncclInvalidArgument;
  if (!comm->group->is_complete()) return ncclInProgress;
  add_work(stream, Work(Visit(comm->group, comm->rank, comm->device, call)));
  return ncclSuccess;
}

ncclResult_t put(ncclComm_t comm, cudaStream_t stream, Direction direction, float* data, size_t count,
                 ncclDataType_t type, int other_rank) {
  if (type != ncclFloat32 || !belong_together(comm, stream) || !holds(data, count)) {
    return ncclInvalidArgument;
  }
  if (comm->pair == nullptr) return ncclInvalidUsage;
  if (other_rank != 1 - comm->rank) return ncclInvalidArgument;
  if (const ncclResult_t state = comm->pair->state(); state != ncclSuccess) return state;
  add_work(stream, transfer(comm->pair, direction, comm->device, data, count));
  return ncclSuccess;
}

}  // namespace

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "ncclSuccess";
    case ncclUnhandledCudaError:
      return "ncclUnhandledCudaError";
    case ncclSystemError:
      return "ncclSystemError";
    case ncclInternalError:
      return "ncclInternalError";
    case ncclInvalidArgument:
      return "ncclInvalidArgument";
    case ncclInvalidUsage:
      return "ncclInvalidUsage";
    case ncclRemoteError:
      return "ncclRemoteError";
    case ncclInProgress:
      return "ncclInProgress";
  }
  return "unknown";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const uint16_t port = open_port();
  if (port == 0) return ncclSystemError;
  *id = {};
  std::memcpy(id->internal, &port, sizeof port);
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++group_depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (group_depth == 0) return ncclInvalidUsage;
  --group_depth;
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int num_ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (config->blocking != 0) return ncclInvalidUsage;
  if (num_ranks < 1 || rank < 0 || rank >= num_ranks) return ncclInvalidArgument;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return ncclUnhandledCudaError;
  uint16_t port = 0;
  std::memcpy(&port, id.internal, sizeof port);
  std::shared_ptr<Group> group;
  std::shared_ptr<Pair> pair;
  if (group_depth > 0) {
    group = join_group(port, num_ranks);
    if (group == nullptr) return ncclInvalidArgument;
  } else {
    if (num_ranks != 2) return ncclInvalidUsage;
    pair = Pair::open(port);
  }
  *comm = new ncclComm{std::move(group), std::move(pair), rank, device};
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  *state = nccl_state;
  if (*state != ncclSuccess) return ncclSuccess;
  if (comm->pair != nullptr) {
    *state = comm->pair->state();
  } else if (!comm->group->is_complete()) {
    *state = ncclInProgress;
  }
  return ncclSuccess;
}

const char* ncclGetLastError(ncclComm_t) {
  return "";
}

ncclResult_t ncclCommFinalize(ncclComm_t) {
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  if (comm->pair != nullptr) comm->pair->abort();
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int to_rank, ncclComm_t comm,
                      cudaStream_t stream) {
  auto* const data = const_cast<float*>(static_cast<const float*>(from));  // which a send leaves alone
  return put(comm, stream, Direction::kSend, data, count, type, to_rank);
}

ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int from_rank, ncclComm_t comm,
                      cudaStream_t stream) {
  return put(comm, stream, Direction::kReceive, static_cast<float*>(to), count, type, from_rank);
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  if (type != ncclFloat32 || op != ncclSum) return ncclInvalidArgument;
  return put(comm, stream,
             {Collective::kAllReduce, static_cast<const float*>(from), static_cast<float*>(to), count},
             count);
}

ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  if (type != ncclFloat32 || comm == nullptr || comm->group == nullptr) return ncclInvalidArgument;
  return put(comm, stream,
             {Collective::kAllGather, static_cast<const float*>(from), static_cast<float*>(to), count},
             count * static_cast<size_t>(comm->group->num_ranks()));
}
