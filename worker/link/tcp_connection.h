// One TCP connection whose reads and writes have deadlines, on Boost.Asio. Knows nothing of what it carries.
#pragma once

#include <atomic>
#include <boost/asio.hpp>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"

namespace octet::worker {

// Every failure leaves the connection useless: a part of a message may be on its way. One call at a time;
// close() from any thread.
class TcpConnection {
 public:
  // Connects to one of the endpoints. Errors: DEADLINE_EXCEEDED, UNAVAILABLE.
  static absl::StatusOr<std::unique_ptr<TcpConnection>> connect(
      const boost::asio::ip::tcp::resolver::results_type& endpoints, Time deadline);
  // Takes a connected socket over from the io_context that it was accepted on. Errors: UNAVAILABLE.
  static absl::StatusOr<std::unique_ptr<TcpConnection>> adopt(boost::asio::ip::tcp::socket socket);

  // Errors: DEADLINE_EXCEEDED; UNAVAILABLE when the peer is gone or close() was called.
  absl::Status write(std::span<const boost::asio::const_buffer> buffers, Time deadline);
  absl::Status read(std::span<std::byte> bytes, Time deadline);

  // Looks whether the peer has ended the connection; what it sent before may still be read. Errors:
  // UNAVAILABLE, as above.
  absl::Status check() const;

  // Wakes a blocked read or write and tells the peer.
  void close();

 private:
  explicit TcpConnection(std::unique_ptr<boost::asio::io_context> context);

  // Runs the operation just started until it ends, or cancels it at the deadline.
  absl::Status await(const boost::system::error_code& result, const bool& done, Time deadline);
  void opened();

  std::unique_ptr<boost::asio::io_context> context_;  // runs inside read and write only
  boost::asio::ip::tcp::socket socket_;
  std::atomic<int> descriptor_{-1};  // the socket's, from the time it is connected
  std::atomic<bool> closed_{false};
};

// An io_context of its own. Errors: UNAVAILABLE when the process is out of file descriptors.
absl::StatusOr<std::unique_ptr<boost::asio::io_context>> make_io_context();

// "host:port" as endpoints. Errors: INVALID_ARGUMENT for anything else, UNAVAILABLE when the name cannot be
// resolved.
absl::StatusOr<boost::asio::ip::tcp::resolver::results_type> resolve(const std::string& address);

}  // namespace octet::worker
