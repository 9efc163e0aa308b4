#include "kernels/cuda/nccl_peer.h"

#include <nccl.h>

#include <cstring>
#include <thread>

#include "kernels/cuda/launch.h"

namespace octet::kernels::cuda {
namespace {

static_assert(sizeof(ncclUniqueId) == sizeof(PeerId));

constexpr int kSenderRank = 0;
constexpr int kReceiverRank = 1;

}  // namespace

std::optional<std::string> make_peer_id(PeerId& id) {
  ncclUniqueId unique_id;
  if (const ncclResult_t result = ncclGetUniqueId(&unique_id); result != ncclSuccess) {
    return std::string("NCCL: ncclGetUniqueId: ") + ncclGetErrorString(result);
  }
  std::memcpy(id.data(), &unique_id, sizeof unique_id);
  return std::nullopt;
}

NcclPeer::NcclPeer(const PeerId& id, PeerRole role, int device, cudaStream_t stream)
    : other_rank_(role == PeerRole::kSender ? kReceiverRank : kSenderRank), stream_(stream) {
  check(cudaSetDevice(device), "cudaSetDevice");
  ncclUniqueId unique_id;
  std::memcpy(&unique_id, id.data(), sizeof unique_id);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const int own_rank = role == PeerRole::kSender ? kSenderRank : kReceiverRank;
  note(ncclCommInitRankConfig(&comm_, 2, unique_id, own_rank, &config), "ncclCommInitRankConfig");
}

NcclPeer::~NcclPeer() {
  abort();
}

std::optional<std::string> NcclPeer::wait_until_connected(const Interruption& interruption) {
  return wait(
      "making the communicator", [] { return true; }, interruption);
}

std::optional<std::string> NcclPeer::send(Tensor data, const Interruption& interruption) {
  OCTET_CHECK(data.dtype() == DType::kFloat32 && data.packed());
  if (problem_) return problem_;
  note(ncclSend(data.data<void>(), static_cast<size_t>(data.num_elements()), ncclFloat32, other_rank_, comm_,
                stream_),
       "ncclSend");
  return wait_for_stream("ncclSend", interruption);
}

std::optional<std::string> NcclPeer::receive(Tensor data, const Interruption& interruption) {
  OCTET_CHECK(data.dtype() == DType::kFloat32 && data.packed());
  if (problem_) return problem_;
  note(ncclRecv(data.data<void>(), static_cast<size_t>(data.num_elements()), ncclFloat32, other_rank_, comm_,
                stream_),
       "ncclRecv");
  return wait_for_stream("ncclRecv", interruption);
}

void NcclPeer::note(int result, const char* what) {
  if (result == ncclSuccess || result == ncclInProgress || problem_) return;
  const char* const detail = comm_ == nullptr ? nullptr : ncclGetLastError(comm_);
  problem_ = std::string("NCCL between two stages: ") + what + ": " +
             ncclGetErrorString(static_cast<ncclResult_t>(result)) +
             (detail == nullptr || *detail == '\0' ? "" : std::string(", ") + detail);
}

std::optional<std::string> NcclPeer::wait(const char* what, const std::function<bool()>& is_done,
                                          const Interruption& interruption) {
  while (!problem_) {
    ncclResult_t state = ncclSuccess;
    note(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError");
    note(state, what);
    if (!problem_ && state == ncclSuccess && is_done()) return std::nullopt;
    if (!problem_) problem_ = interruption();
    std::this_thread::yield();
  }
  abort();
  return problem_;
}

std::optional<std::string> NcclPeer::wait_for_stream(const char* what, const Interruption& interruption) {
  return wait(
      what, [this] { return is_ready(cudaStreamQuery(stream_), "cudaStreamQuery"); }, interruption);
}

void NcclPeer::abort() {
  if (comm_ == nullptr) return;
  ncclCommAbort(comm_);
  comm_ = nullptr;  // not before: NCCL writes it once more when it has made the communicator
}

}  // namespace octet::kernels::cuda
