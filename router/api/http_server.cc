#include "router/api/http_server.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/api/http_connection.h"

namespace octet::router {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr size_t kReadBufferBytes = 64 << 10;
// How long to wait when a connection cannot be accepted, which is when file descriptors have run out.
constexpr Duration kAcceptPause = std::chrono::milliseconds(100);
constexpr std::string_view kTooManyConnections =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n";

class Listener : public std::enable_shared_from_this<Listener> {
 public:
  Listener(tcp::acceptor acceptor, std::shared_ptr<HttpServerState> state)
      : acceptor_(std::move(acceptor)), pause_(state->loop), state_(std::move(state)) {}

  void accept() {
    acceptor_.async_accept([self = shared_from_this()](error_code error, tcp::socket socket) {
      if (!self->acceptor_.is_open()) return;
      if (error) return self->accept_later();
      self->add(std::move(socket));
      self->accept();
    });
  }

  void close() {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  }

 private:
  void accept_later() {
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([self = shared_from_this()](error_code error) {
      if (!error && self->acceptor_.is_open()) self->accept();
    });
  }

  void add(tcp::socket socket) {
    if (state_->connections.size() >= state_->limits.max_connections) {
      error_code ignored;
      socket.non_blocking(true, ignored);
      if (state_->tls == nullptr) socket.write_some(asio::buffer(kTooManyConnections), ignored);
      return;
    }
    std::make_shared<HttpConnection>(std::move(socket), state_)->start();
  }

  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  const std::shared_ptr<HttpServerState> state_;
};

class Server final : public HttpServer {
 public:
  Server(std::shared_ptr<Listener> listener, std::shared_ptr<HttpServerState> state, int port)
      : listener_(std::move(listener)), state_(std::move(state)), port_(port) {
    listener_->accept();
  }

  ~Server() override {
    listener_->close();
    for_each_connection([](HttpConnection& connection) { connection.drop(); });
  }

  int port() const override { return port_; }
  size_t num_connections() const override { return state_->connections.size(); }

  void stop_accepting() override {
    state_->stopping = true;
    listener_->close();
    for_each_connection([](HttpConnection& connection) { connection.close_if_idle(); });
  }

 private:
  template <typename Visitor>
  void for_each_connection(Visitor visit) {
    // A copy: a connection may leave the set while it is visited.
    std::vector<std::shared_ptr<HttpConnection>> connections;
    for (HttpConnection* connection : state_->connections)
      connections.push_back(connection->shared_from_this());
    for (const auto& connection : connections) visit(*connection);
  }

  const std::shared_ptr<Listener> listener_;
  const std::shared_ptr<HttpServerState> state_;
  const int port_;
};

absl::StatusOr<tcp::acceptor> bind(asio::io_context& loop, const std::string& host, int port) {
  const auto failed = [&](std::string_view what, const error_code& error) {
    return absl::UnavailableError(
        absl::StrCat("http: cannot ", absl_view(what), " ", host, ":", port, ": ", error.message()));
  };
  error_code error;
  tcp::resolver resolver(loop);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty()) return failed("resolve", error);
  const tcp::endpoint endpoint = found.begin()->endpoint();
  tcp::acceptor acceptor(loop);
  acceptor.open(endpoint.protocol(), error);
  if (error) return failed("open a socket for", error);
  acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return failed("listen on", error);
  return acceptor;
}

}  // namespace

std::string_view HttpRequest::header(std::string_view lower_case_name) const {
  const auto found = std::find_if(headers.begin(), headers.end(),
                                  [&](const auto& header) { return header.first == lower_case_name; });
  return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::listen(asio::io_context& loop,
                                                               const std::string& host, int port,
                                                               Routes routes, HttpLimits limits,
                                                               std::shared_ptr<TlsFiles> tls, HttpGate gate,
                                                               const CallRecorder* calls) {
  absl::StatusOr<tcp::acceptor> acceptor = bind(loop, host, port);
  if (!acceptor.ok()) return acceptor.status();
  error_code error;
  const int bound_port = acceptor->local_endpoint(error).port();
  auto state =
      std::make_shared<HttpServerState>(HttpServerState{.loop = loop,
                                                        .routes = std::move(routes),
                                                        .limits = limits,
                                                        .tls = std::move(tls),
                                                        .gate = std::move(gate),
                                                        .calls = calls,
                                                        .connections = {},
                                                        .read_buffer = std::vector<char>(kReadBufferBytes),
                                                        .opened = {},
                                                        .num_unread_body_bytes = 0,
                                                        .stopping = false});
  auto listener = std::make_shared<Listener>(*std::move(acceptor), state);
  return std::make_unique<Server>(std::move(listener), std::move(state), bound_port);
}

}  // namespace octet::router
