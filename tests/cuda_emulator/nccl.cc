// Collectives: the ranks meet, the last one computes for all.
#include "tests/cuda_emulator/include/nccl.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "tests/cuda_emulator/device_memory.h"
#include "tests/cuda_emulator/stream.h"

namespace cuda_emulator {
namespace {

constexpr std::chrono::minutes kPatience{1};

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

  // Returns when all ranks have called and their results are there; else what went wrong.
  std::string meet(int rank, const Call& call) {
    std::unique_lock lock(mutex_);
    calls_[static_cast<size_t>(rank)] = call;
    const uint64_t meeting = meeting_;
    if (++num_arrived_ == calls_.size()) {
      problem_ = compute();
      num_arrived_ = 0;
      ++meeting_;
      met_.notify_all();
      return problem_;
    }
    if (!met_.wait_for(lock, kPatience, [&] { return meeting_ != meeting; })) {
      return "rank " + std::to_string(rank) + " of " + std::to_string(calls_.size()) +
             " waits for the others";
    }
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

  std::mutex mutex_;
  std::condition_variable met_;
  std::vector<Call> calls_;  // [num_ranks]
  size_t num_arrived_ = 0;
  uint64_t meeting_ = 0;
  std::string problem_;
};

bool holds(const void* memory, size_t count) {
  const auto address = reinterpret_cast<uintptr_t>(memory);
  const auto allocation = device_memory().find(address);
  return allocation && address - allocation->begin + count * sizeof(float) <= allocation->num_bytes;
}

}  // namespace
}  // namespace cuda_emulator

struct ncclComm {
  std::shared_ptr<cuda_emulator::Group> group;
  int rank = 0;
  int device = 0;
};

namespace {

using namespace cuda_emulator;

ncclResult_t put(ncclComm_t comm, cudaStream_t stream, const Call& call, size_t to_count) {
  if (comm == nullptr || stream == nullptr || device_of(stream) != comm->device) return ncclInvalidArgument;
  if (!holds(call.from, call.count) || !holds(call.to, to_count)) return ncclInvalidArgument;
  add_work(stream, [group = comm->group, rank = comm->rank, device = comm->device, call] {
    const std::string problem = group->meet(rank, call);
    if (!problem.empty()) record_fault(device, "NCCL: " + problem);
  });
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
  }
  return "unknown";
}

ncclResult_t ncclCommInitAll(ncclComm_t* comms, int num_devices, const int* devices) {
  if (num_devices < 1) return ncclInvalidArgument;
  const auto group = std::make_shared<Group>(num_devices);
  for (int rank = 0; rank < num_devices; ++rank) {
    if (devices[rank] < 0 || devices[rank] >= device_memory().num_devices()) return ncclInvalidArgument;
    comms[rank] = new ncclComm{group, rank, devices[rank]};
  }
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  delete comm;
  return ncclSuccess;
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
  if (type != ncclFloat32 || comm == nullptr) return ncclInvalidArgument;
  return put(comm, stream,
             {Collective::kAllGather, static_cast<const float*>(from), static_cast<float*>(to), count},
             count * static_cast<size_t>(comm->group->num_ranks()));
}
