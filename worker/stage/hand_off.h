// One rank's activations to or from its equal in a neighbouring stage. Where the host holds them they go over
// the link. Else they go from device to device, and the link carries what the devices cannot: the
// connection's id, word of which step's activations come and how many, and the end of the peer.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "base/clock.h"
#include "kernels/backend.h"
#include "worker/link/link.h"

namespace octet::worker {

// Called from the rank's thread; close() from any. After an error it is of no more use.
class HandOff {
 public:
  // backend: of the rank; outlives this.
  HandOff(std::unique_ptr<Link> link, kernels::Backend& backend, kernels::PeerRole role)
      : link_(std::move(link)), backend_(backend), role_(role) {}

  // Between devices: the first half of connecting, and the second, which waits for the peer's first. Errors:
  // DEADLINE_EXCEEDED; UNAVAILABLE when the peer is gone, close() was called or the devices cannot connect.
  absl::Status begin_connecting(Time deadline);
  absl::Status finish_connecting(Time deadline);

  // activations: fp32, packed, in the rank's memory, with all ops before done. Errors: as above and of Link.
  absl::Status send(uint64_t step, kernels::Tensor activations, Time deadline);
  absl::Status receive(uint64_t step, kernels::Tensor activations, Time deadline);

  // Wakes who waits, here and at the peer.
  void close() { link_->close(); }

 private:
  bool is_between_devices() const { return !backend_.has_host_memory(); }
  // Runs a wait of the peer's until the deadline or the link's end.
  template <typename Wait>
  absl::Status wait_for_peer(Time deadline, const Wait& wait);

  const std::unique_ptr<Link> link_;
  kernels::Backend& backend_;
  const kernels::PeerRole role_;
  std::unique_ptr<kernels::Peer> peer_;  // between devices, once connecting has begun
};

}  // namespace octet::worker
