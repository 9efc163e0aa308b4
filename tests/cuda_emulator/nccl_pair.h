// A communicator of two ranks, which may be of two processes: they meet at a port of the loopback, and what
// one sends goes to the other over a socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "tests/cuda_emulator/include/nccl.h"
#include "tests/cuda_emulator/stream.h"

namespace cuda_emulator {

// Listens on a port that Pair::open() finds again, in this process or another; 0 when the system has none.
uint16_t open_port();
// Of nobody's interest any more.
void close_port(uint16_t port);

class Pair {
 public:
  // The first of this process at a port that it opened waits there, everybody else connects to it.
  static std::shared_ptr<Pair> open(uint16_t port);
  ~Pair();
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  // In progress until both ranks have come; ncclSystemError where nobody listened at the port, and
  // ncclRemoteError once a transfer met a rank that is gone.
  ncclResult_t state();
  // What is under way is over, without its bytes; the other rank's part of it is not.
  void abort();

 private:
  friend class Transfer;
  Pair(int listener, int socket) : listener_(listener), socket_(socket) {}

  std::mutex mutex_;  // of what follows
  int listener_;      // until the other rank has come, or -1
  int socket_;        // once it has, else -1
  bool is_remote_gone_ = false;
  bool is_aborted_ = false;
};

enum class Direction { kSend, kReceive };

// Of `count` floats at data, of the device: as work of its stream. A send waits until the other rank's stream
// has come to its receive, which has to be of as many.
Work transfer(std::shared_ptr<Pair> pair, Direction direction, int device, float* data, size_t count);

}  // namespace cuda_emulator
