#include "worker/link/tcp_connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"

namespace octet::worker {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

absl::StatusOr<std::unique_ptr<asio::io_context>> make_io_context() {
  // The constructor has no form with an error code.
  try {
    return std::make_unique<asio::io_context>(1);
  } catch (const boost::system::system_error& error) {
    return absl::UnavailableError(absl::StrCat("cannot set up a connection: ", error.code().message()));
  }
}

TcpConnection::TcpConnection(std::unique_ptr<asio::io_context> context)
    : context_(std::move(context)), socket_(*context_) {}

absl::StatusOr<std::unique_ptr<TcpConnection>> TcpConnection::connect(
    const tcp::resolver::results_type& endpoints, Time deadline) {
  auto context = make_io_context();
  if (!context.ok()) return context.status();
  std::unique_ptr<TcpConnection> connection(new TcpConnection(*std::move(context)));
  error_code result;
  bool done = false;
  asio::async_connect(connection->socket_, endpoints, [&](const error_code& error, const tcp::endpoint&) {
    result = error;
    done = true;
  });
  if (const absl::Status status = connection->await(result, done, deadline); !status.ok()) return status;
  connection->opened();
  return connection;
}

absl::StatusOr<std::unique_ptr<TcpConnection>> TcpConnection::adopt(tcp::socket socket) {
  auto context = make_io_context();
  if (!context.ok()) return context.status();
  std::unique_ptr<TcpConnection> connection(new TcpConnection(*std::move(context)));
  error_code error;
  const tcp protocol = socket.local_endpoint(error).protocol();
  if (!error) {
    const auto descriptor = socket.release(error);
    if (!error) connection->socket_.assign(protocol, descriptor, error);
    if (error) ::close(descriptor);
  }
  if (error) return absl::UnavailableError(absl::StrCat("the connection was lost: ", error.message()));
  connection->opened();
  return connection;
}

void TcpConnection::opened() {
  error_code ignored;  // only slower without it
  socket_.set_option(tcp::no_delay(true), ignored);
  descriptor_ = socket_.native_handle();
}

absl::Status TcpConnection::write(std::span<const asio::const_buffer> buffers, Time deadline) {
  error_code result;
  bool done = false;
  asio::async_write(socket_, buffers, [&](const error_code& error, size_t) {
    result = error;
    done = true;
  });
  return await(result, done, deadline);
}

absl::Status TcpConnection::read(std::span<std::byte> bytes, Time deadline) {
  error_code result;
  bool done = false;
  asio::async_read(socket_, asio::buffer(bytes.data(), bytes.size()), [&](const error_code& error, size_t) {
    result = error;
    done = true;
  });
  return await(result, done, deadline);
}

absl::Status TcpConnection::await(const error_code& result, const bool& done, Time deadline) {
  context_->restart();
  context_->run_until(deadline);
  if (!done) {
    // Ends the operation. A mere cancel() could be lost between two parts of it, which would then go on; a
    // closed or shut socket ends every part. Once connected the descriptor has to stay, for close() may use
    // it.
    error_code ignored;
    if (descriptor_ < 0) {
      socket_.close(ignored);
    } else {
      socket_.shutdown(tcp::socket::shutdown_both, ignored);
      socket_.cancel(ignored);
    }
    context_->run();
    return absl::DeadlineExceededError("the peer did not answer in time");
  }
  if (closed_) return absl::UnavailableError("the link was closed");
  if (result) return absl::UnavailableError(absl::StrCat("the peer is gone: ", result.message()));
  return absl::OkStatus();
}

absl::Status TcpConnection::check() const {
  if (closed_) return absl::UnavailableError("the link was closed");
  pollfd state = {descriptor_, POLLRDHUP, 0};  // errors are reported unasked
  if (::poll(&state, 1, 0) > 0) return absl::UnavailableError("the peer is gone");
  return absl::OkStatus();
}

void TcpConnection::close() {
  closed_ = true;
  // Wakes this side as well as the peer. The descriptor stays open, so it cannot be another file's by now.
  if (const int descriptor = descriptor_; descriptor >= 0) ::shutdown(descriptor, SHUT_RDWR);
}

absl::StatusOr<tcp::resolver::results_type> resolve(const std::string& address) {
  const size_t colon = address.rfind(':');
  uint16_t port = 0;
  if (colon != std::string::npos) {
    const char* end = address.data() + address.size();
    const auto [parsed, error] = std::from_chars(address.data() + colon + 1, end, port);
    if (error != std::errc() || parsed != end) port = 0;
  }
  if (port == 0 || colon == 0) {
    return absl::InvalidArgumentError(absl::StrCat("address must be host:port, given \"", address, "\""));
  }
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);

  auto context = make_io_context();
  if (!context.ok()) return context.status();
  tcp::resolver resolver(**context);
  error_code error;
  const auto endpoints = resolver.resolve(host, absl::StrCat(port), tcp::resolver::numeric_service, error);
  if (error) return absl::UnavailableError(absl::StrCat("cannot resolve \"", host, "\": ", error.message()));
  return endpoints;
}

}  // namespace octet::worker
