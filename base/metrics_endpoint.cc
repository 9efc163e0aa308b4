#include "base/metrics_endpoint.h"

#include <openssl/ssl.h>
#include <prometheus/text_serializer.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <optional>
#include <thread>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace octet {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Tcp = asio::ip::tcp;

// Probes and scrapers are few; more connections than this wait in the kernel's queue, each for at most the
// timeout.
constexpr int kMaxConnections = 32;
constexpr uint32_t kMaxHeaderBytes = 8192;
constexpr std::chrono::seconds kConnectionTimeout(5);  // from accept to the last byte sent
constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";
constexpr const char* kTextType = "text/plain; charset=utf-8";

using Request = http::request<http::empty_body>;
using Response = http::response<http::string_body>;

// What the endpoint tells.
struct Content {
  std::shared_ptr<prometheus::Registry> registry;
  std::function<bool()> ready;
  std::function<bool()> live;

  Response answer(const Request& request) const {
    Response response(http::status::ok, 11);
    response.set(http::field::content_type, kTextType);
    response.set(http::field::cache_control, "no-store");
    const auto target = request.target().substr(0, request.target().find('?'));
    if (request.method() != http::verb::get && request.method() != http::verb::head) {
      response.result(http::status::method_not_allowed);
      response.set(http::field::allow, "GET, HEAD");
      response.body() = "only GET\n";
    } else if (target == "/metrics") {
      response.set(http::field::content_type, kMetricsType);
      response.body() = prometheus::TextSerializer().Serialize(registry->Collect());
    } else if (target == "/live") {
      const bool is_live = live();
      response.result(is_live ? http::status::ok : http::status::service_unavailable);
      response.body() = is_live ? "live\n" : "no progress\n";
    } else if (target == "/ready" || target == "/health") {
      const bool is_ready = ready();
      response.result(is_ready ? http::status::ok : http::status::service_unavailable);
      response.body() = is_ready ? "ready\n" : "not ready\n";
    } else {
      response.result(http::status::not_found);
      response.body() = "here are /metrics, /live, /ready and /health\n";
    }
    response.keep_alive(false);
    response.prepare_payload();  // HEAD gets the length and no body
    if (request.method() == http::verb::head) response.body().clear();
    return response;
  }
};

using PlainStream = beast::tcp_stream;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

TlsStream tls_stream(Tcp::socket socket, const TlsContents& contents) {
  SSL_CTX_up_ref(contents.server.get());
  asio::ssl::context context(contents.server.get());  // takes the reference; the stream has one of its own
  return {std::move(socket), context};
}

// One connection: one request, one answer, closed.
template <typename Stream>
class Connection : public std::enable_shared_from_this<Connection<Stream>> {
 public:
  Connection(Stream stream, const Content& content, std::function<void()> on_end)
      : stream_(std::move(stream)), content_(content), on_end_(std::move(on_end)) {}
  ~Connection() { on_end_(); }

  void start() {
    beast::get_lowest_layer(stream_).expires_after(kConnectionTimeout);
    if constexpr (kIsTls) {
      stream_.async_handshake(asio::ssl::stream_base::server,
                              [self = this->shared_from_this()](beast::error_code error) {
                                if (!error) self->read();
                              });
    } else {
      read();
    }
  }

 private:
  static constexpr bool kIsTls = std::is_same_v<Stream, TlsStream>;

  void read() {
    parser_.header_limit(kMaxHeaderBytes);
    http::async_read_header(
        stream_, buffer_, parser_,
        [self = this->shared_from_this()](beast::error_code error, size_t) { self->answer(error); });
  }

  void answer(beast::error_code error) {
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      response_ = Response(http::status::request_header_fields_too_large, 11);
      response_.body() = absl::StrCat("more than ", kMaxHeaderBytes, " bytes of header\n");
      response_.keep_alive(false);
      response_.prepare_payload();
    } else if (error) {
      return;  // closed, timed out or not HTTP
    } else {
      response_ = content_.answer(parser_.get());
    }
    http::async_write(stream_, response_, [self = this->shared_from_this()](beast::error_code, size_t) {
      if constexpr (kIsTls) {
        self->stream_.async_shutdown([self](beast::error_code) {});
      } else {
        beast::error_code ignored;
        self->stream_.socket().shutdown(Tcp::socket::shutdown_send, ignored);
      }
    });
  }

  Stream stream_;
  beast::flat_buffer buffer_{kMaxHeaderBytes + 1024};
  http::request_parser<http::empty_body> parser_;
  Response response_;
  const Content& content_;
  std::function<void()> on_end_;
};

}  // namespace

struct MetricsEndpoint::Impl {
  bool stopping = false;  // outlives the loop, whose end destroys the connections, which call accept()
  int num_connections = 0;
  bool accepting = false;
  int port = 0;
  Content content;
  std::shared_ptr<TlsFiles> tls;  // null: plaintext
  asio::io_context loop{1};
  Tcp::acceptor acceptor{loop};
  asio::steady_timer retry{loop};
  std::thread thread;

  void accept() {
    if (stopping || accepting || num_connections >= kMaxConnections) return;
    accepting = true;
    acceptor.async_accept([this](beast::error_code error, Tcp::socket socket) {
      accepting = false;
      if (error == asio::error::operation_aborted) return;
      if (error) {  // out of file descriptors, or the peer is gone already: let others go first
        retry.expires_after(std::chrono::milliseconds(100));
        retry.async_wait([this](beast::error_code aborted) {
          if (!aborted) accept();
        });
        return;
      }
      ++num_connections;
      if (tls == nullptr) {
        serve(PlainStream(std::move(socket)));
      } else {
        serve(tls_stream(std::move(socket), *tls->current()));
      }
      accept();
    });
  }

  template <typename Stream>
  void serve(Stream stream) {
    std::make_shared<Connection<Stream>>(std::move(stream), content, [this] {
      --num_connections;
      accept();
    })->start();
  }

  void run() {
    for (;;) {
      try {
        loop.run();
        return;
      } catch (const std::exception& error) {  // an allocation, or a callback of the owner
        spdlog::error("metrics endpoint: {}", error.what());
      }
    }
  }
};

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::listen(
    const std::string& host, int port, std::shared_ptr<prometheus::Registry> registry,
    std::function<bool()> ready, std::function<bool()> live, std::shared_ptr<TlsFiles> tls) {
  auto impl = std::make_unique<Impl>();
  impl->tls = std::move(tls);
  impl->content = {std::move(registry), std::move(ready), std::move(live)};
  beast::error_code error;
  const auto fail = [&](const std::string& what) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", host, ":", port, " for metrics: ", what));
  };
  const auto endpoints = Tcp::resolver(impl->loop).resolve(host, std::to_string(port), error);
  if (error || endpoints.empty()) return fail(error.message());
  const Tcp::endpoint endpoint = endpoints.begin()->endpoint();
  impl->acceptor.open(endpoint.protocol(), error);
  if (!error) impl->acceptor.set_option(Tcp::acceptor::reuse_address(true), error);  // only past TIME_WAIT
  if (!error) impl->acceptor.bind(endpoint, error);
  if (!error) impl->acceptor.listen(kMaxConnections, error);
  if (!error) impl->port = impl->acceptor.local_endpoint(error).port();
  if (error) return fail(error.message());
  auto result = std::unique_ptr<MetricsEndpoint>(new MetricsEndpoint(std::move(impl)));
  result->impl_->accept();
  result->impl_->thread = std::thread([impl = result->impl_.get()] { impl->run(); });
  return result;
}

MetricsEndpoint::MetricsEndpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

MetricsEndpoint::~MetricsEndpoint() {
  impl_->loop.stop();
  if (impl_->thread.joinable()) impl_->thread.join();
  impl_->stopping = true;
}

int MetricsEndpoint::port() const {
  return impl_->port;
}

}  // namespace octet
