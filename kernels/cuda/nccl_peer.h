// A rank and its equal in a neighbouring stage: an NCCL communicator of two, for one direction and one epoch.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <optional>
#include <string>

#include "kernels/peer.h"

struct ncclComm;  // what an ncclComm_t points to; nccl.h is for nccl_peer.cc only

namespace octet::kernels::cuda {

// What went wrong, or nothing.
std::optional<std::string> make_peer_id(PeerId& id);

// Sends and receives on the rank's stream, and waits by looking: at the communicator, the stream and the
// interruption. Whatever ends a wait early aborts the communicator, whose work then leaves the stream, so
// that only this thread ever calls NCCL.
class NcclPeer final : public Peer {
 public:
  // stream: of the device; outlives the peer.
  NcclPeer(const PeerId& id, PeerRole role, int device, cudaStream_t stream);
  ~NcclPeer() override;
  NcclPeer(const NcclPeer&) = delete;
  NcclPeer& operator=(const NcclPeer&) = delete;

  std::optional<std::string> wait_until_connected(const Interruption& interruption) override;
  std::optional<std::string> send(Tensor data, const Interruption& interruption) override;
  std::optional<std::string> receive(Tensor data, const Interruption& interruption) override;

 private:
  // Of a call that may return before it is done: a failure is kept in problem_.
  void note(int result, const char* what);
  // Until the communicator has done what it was told and is_done(); else problem_.
  std::optional<std::string> wait(const char* what, const std::function<bool()>& is_done,
                                  const Interruption& interruption);
  std::optional<std::string> wait_for_stream(const char* what, const Interruption& interruption);
  void abort();

  const int other_rank_;
  const cudaStream_t stream_;
  ncclComm* comm_ = nullptr;  // none once it was aborted
  std::optional<std::string> problem_;
};

}  // namespace octet::kernels::cuda
