#include "tests/cuda_emulator/nccl_pair.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <string>
#include <utility>

namespace cuda_emulator {
namespace {

// Listeners that wait for Pair::open(), by port.
struct Ports {
  std::mutex mutex;
  std::map<uint16_t, int> listener_of;
};
Ports& ports() {
  static Ports ports;
  return ports;
}

int take_listener(uint16_t port) {
  const std::lock_guard lock(ports().mutex);
  const auto found = ports().listener_of.find(port);
  if (found == ports().listener_of.end()) return -1;
  return ports().listener_of.extract(found).mapped();
}

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void close_if_open(int& descriptor) {
  if (descriptor >= 0) ::close(std::exchange(descriptor, -1));
}

}  // namespace

uint16_t open_port() {
  int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  auto* const any_address = reinterpret_cast<sockaddr*>(&address);
  socklen_t num_bytes = sizeof address;
  if (listener < 0 || ::bind(listener, any_address, num_bytes) != 0 || ::listen(listener, 1) != 0 ||
      ::getsockname(listener, any_address, &num_bytes) != 0) {
    close_if_open(listener);
    return 0;
  }
  const std::lock_guard lock(ports().mutex);
  ports().listener_of[ntohs(address.sin_port)] = listener;
  return ntohs(address.sin_port);
}

void close_port(uint16_t port) {
  int listener = take_listener(port);
  close_if_open(listener);
}

std::shared_ptr<Pair> Pair::open(uint16_t port) {
  if (const int listener = take_listener(port); listener >= 0) {
    return std::shared_ptr<Pair>(new Pair(listener, -1));
  }
  int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  if (socket >= 0 && ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    close_if_open(socket);
  }
  return std::shared_ptr<Pair>(new Pair(-1, socket));
}

Pair::~Pair() {
  abort();
}

ncclResult_t Pair::state() {
  const std::lock_guard lock(mutex_);
  if (listener_ >= 0) {
    socket_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket_ < 0) return ncclInProgress;
    close_if_open(listener_);
  }
  if (socket_ < 0) return ncclSystemError;
  return is_remote_gone_ ? ncclRemoteError : ncclSuccess;
}

void Pair::abort() {
  const std::lock_guard lock(mutex_);
  is_aborted_ = true;
  close_if_open(listener_);
  close_if_open(socket_);
}

// The receiver tells how much it wants, then the sender sends it.
class Transfer {
 public:
  Transfer(std::shared_ptr<Pair> pair, Direction direction, int device, float* data, size_t count)
      : pair_(std::move(pair)),
        direction_(direction),
        device_(device),
        data_(reinterpret_cast<char*>(data)),
        num_bytes_(count * sizeof(float)) {}

  bool operator()() {
    const std::lock_guard lock(pair_->mutex_);
    if (pair_->is_aborted_) return true;
    if (!has_met_) has_met_ = meet();
    if (!has_met_) return false;
    while (num_moved_ < num_bytes_) {
      const ssize_t moved = move(data_ + num_moved_, num_bytes_ - num_moved_);
      if (moved <= 0) return false;
      num_moved_ += static_cast<size_t>(moved);
    }
    return true;
  }

 private:
  bool meet() {
    if (direction_ == Direction::kReceive) {
      return noted(::send(pair_->socket_, &num_bytes_, sizeof num_bytes_, MSG_DONTWAIT | MSG_NOSIGNAL)) ==
             sizeof num_bytes_;
    }
    size_t wanted = 0;
    if (noted(::recv(pair_->socket_, &wanted, sizeof wanted, MSG_DONTWAIT | MSG_PEEK)) != sizeof wanted) {
      return false;
    }
    ::recv(pair_->socket_, &wanted, sizeof wanted, MSG_DONTWAIT);
    if (wanted == num_bytes_) return true;
    record_fault(device_, "NCCL: a rank sends " + std::to_string(num_bytes_) +
                              " bytes, and the other one receives " + std::to_string(wanted));
    return false;
  }

  ssize_t move(char* data, size_t num_bytes) {
    return noted(direction_ == Direction::kSend
                     ? ::send(pair_->socket_, data, num_bytes, MSG_DONTWAIT | MSG_NOSIGNAL)
                     : ::recv(pair_->socket_, data, num_bytes, MSG_DONTWAIT));
  }

  // What a call moved; one that ended the connection is remembered.
  ssize_t noted(ssize_t moved) {
    const bool is_later = moved < 0 && (errno == EAGAIN || errno == EINTR);
    if (moved <= 0 && !is_later) pair_->is_remote_gone_ = true;
    return moved;
  }

  std::shared_ptr<Pair> pair_;
  Direction direction_;
  int device_;
  char* data_;
  size_t num_bytes_;
  bool has_met_ = false;
  size_t num_moved_ = 0;
};

Work transfer(std::shared_ptr<Pair> pair, Direction direction, int device, float* data, size_t count) {
  return Transfer(std::move(pair), direction, device, data, count);
}

}  // namespace cuda_emulator
