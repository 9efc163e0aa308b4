// How a rank hands activations, or word of them, to its equal in the next stage over TCP. Where devices hand
// them over among themselves, worker/stage/hand_off.h says what still goes this way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "worker/link/link_key.h"

namespace octet::worker {

// One direction, one rank pair, one epoch: an end either sends or receives, in one thread at a time; close()
// comes from any. After an error the link is of no more use.
class Link {
 public:
  virtual ~Link() = default;

  // Sends the activations of a step. Errors: DEADLINE_EXCEEDED; UNAVAILABLE when the peer is gone or close()
  // was called.
  virtual absl::Status send(uint64_t step, std::span<const std::byte> bytes, Time deadline) = 0;
  // Receives the activations of a step into all of `bytes`. Errors: as send, and DATA_LOSS when the peer sent
  // another step, another size, another epoch, or bytes that do not match their checksum.
  virtual absl::Status receive(uint64_t step, std::span<std::byte> bytes, Time deadline) = 0;
  // Whether the peer could still send or receive, at once. Errors: UNAVAILABLE when it is gone or close() was
  // called.
  virtual absl::Status check() = 0;
  // Wakes a blocked send or receive, and the peer's; later calls fail.
  virtual void close() = 0;
};

// A stage's links in an epoch, one a rank; empty before the first and after the last stage.
struct StageLinks {
  std::vector<std::unique_ptr<Link>> from_previous;
  std::vector<std::unique_ptr<Link>> to_next;
};

// Takes the previous stage's connections. Connections that do not open with the right greeting (magic, wire
// version, epoch, rank, number of ranks, proof of the epoch's key) are closed and forgotten.
class TcpLinkListener {
 public:
  // Errors: UNAVAILABLE naming the address when it cannot be bound. port 0: any free one.
  static absl::StatusOr<std::unique_ptr<TcpLinkListener>> listen(const std::string& host, int port);
  ~TcpLinkListener();

  int port() const;
  // One link for each rank of the epoch, which receives. Connections wait in the socket's queue while no
  // accept() runs. Errors: DEADLINE_EXCEEDED naming the ranks that did not come; CANCELLED once a stop was
  // requested.
  absl::StatusOr<std::vector<std::unique_ptr<Link>>> accept(uint64_t epoch, const LinkKey& key, int num_ranks,
                                                            Time deadline, const std::stop_token& stop = {});

 private:
  struct Impl;
  explicit TcpLinkListener(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Connects every rank to the next stage's listener at "host:port", trying again until the deadline; the links
// send. Errors: INVALID_ARGUMENT for an address of another form, UNAVAILABLE when its host is unknown,
// DEADLINE_EXCEEDED naming the rank, CANCELLED soon after a stop was requested. Looking a host's name up may
// take past the deadline, as long as the system's resolver takes; a numeric address is not looked up.
absl::StatusOr<std::vector<std::unique_ptr<Link>>> connect_links(const std::string& address, uint64_t epoch,
                                                                 const LinkKey& key, int num_ranks,
                                                                 Time deadline,
                                                                 const std::stop_token& stop = {});

// A link inside one process: what first sends, second receives.
std::pair<std::unique_ptr<Link>, std::unique_ptr<Link>> in_process_link();

}  // namespace octet::worker
