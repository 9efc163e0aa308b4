// A link over a TCP connection that has exchanged greetings; see link.h.
#pragma once

#include <memory>
#include <optional>

#include "worker/link/link.h"
#include "worker/link/tcp_connection.h"

namespace octet::worker {

class TcpLink : public Link {
 public:
  TcpLink(std::unique_ptr<TcpConnection> connection, uint64_t epoch, int rank)
      : connection_(std::move(connection)), epoch_(epoch), rank_(rank) {}
  ~TcpLink() override { connection_->close(); }

  absl::Status send(uint64_t step, std::span<const std::byte> bytes, Time deadline) override;
  absl::Status receive(uint64_t step, std::span<std::byte> bytes, Time deadline) override;
  absl::Status check() override;
  void close() override { connection_->close(); }

 private:
  absl::Status receive_frame(uint64_t step, std::span<std::byte> bytes, Time deadline);
  // Keeps the first failure: after it the stream may stand inside a message.
  absl::Status finish(uint64_t step, absl::Status status);

  std::unique_ptr<TcpConnection> connection_;
  uint64_t epoch_;
  int rank_;
  absl::Status failure_;
};

}  // namespace octet::worker
