// HTTP/1.1 over Asio: connections, limits and timeouts, and nothing about models. A handler gets a whole
// request and answers through a responder, at once or later, with one body or with a stream of events. Event
// loop only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/credentials.h"

namespace octet::router {

struct ApiKey;
struct CallRecord;
class CallRecorder;

struct HttpRequest {
  std::string id;  // the header x-request-id, or made; every answer has it in this header
  std::string method;
  std::string path;  // without the query, as sent: nothing is decoded
  std::string query;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;         // names in lower case
  std::shared_ptr<const ApiKey> key;                                // null: none was asked for
  std::shared_ptr<CallRecord> record = nullptr;                     // null: calls are not recorded
  std::string_view header(std::string_view lower_case_name) const;  // empty when absent
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// The name of the header that carries HttpRequest::id in and out.
inline constexpr std::string_view kRequestIdHeader = "x-request-id";

// May outlive its connection, whose end makes every call a no-op. One that is dropped before it answered
// answers 500.
class HttpResponder {
 public:
  virtual ~HttpResponder() = default;
  // One answer. After it: no more calls.
  virtual void send(int status, std::string content_type, std::string body, HttpHeaders headers = {}) = 0;
  // A streamed answer: start, then any number of writes, then end. Writes are queued; a client that reads too
  // slowly (more than the limit queued) is dropped, and on_close runs.
  virtual void start_stream(int status, std::string content_type, HttpHeaders headers = {}) = 0;
  virtual void write(std::string bytes) = 0;
  virtual void end_stream() = 0;
  // Runs once when the client goes away before the answer is whole, never from inside a call of this class. A
  // client that only closes its sending half counts as gone, unless its answer is already whole.
  virtual void on_close(std::function<void()> callback) = 0;
};

struct HttpRefusal {
  int status = 401;
  std::string body;  // JSON
  HttpHeaders headers;
};
// Sees every request that has a handler, once its header is whole: before its body is read or handled.
using HttpGate = std::function<std::optional<HttpRefusal>(HttpRequest&)>;

// What it throws becomes a 500.
using HttpHandler = std::function<void(const HttpRequest&, std::shared_ptr<HttpResponder>)>;

// What stands at a path.
struct HttpRoute {
  std::map<std::string, HttpHandler> methods;
  const char* api = "";        // whose it is, for the records of calls: "openai"; empty: no API's
  const char* operation = "";  // what its methods generate, as CallOrigin::operation; empty: nothing
};

struct HttpLimits {
  size_t max_body_bytes = 8 << 20;
  size_t max_header_bytes = 64 << 10;
  size_t max_queued_bytes = 8 << 20;       // of one stream
  size_t max_unread_body_bytes = 1 << 30;  // of all bodies still being received
  size_t max_connections = 10000;
  Duration header_timeout = std::chrono::seconds(10);  // to a connection's first byte of a request (the TLS
                                                       // handshake is before it); to a header's end
  Duration body_timeout = std::chrono::seconds(60);
  Duration idle_timeout = std::chrono::seconds(300);
  Duration write_timeout = std::chrono::seconds(30);  // without any progress
};

class HttpServer {
 public:
  // Routes by method and exact path; a path that ends in "/*" stands for every longer path with that
  // beginning. An unknown path: 404; a known path with another method: 405 with Allow. HEAD is GET without
  // the body, OPTIONS answers Allow.
  using Routes = std::map<std::string, HttpRoute>;

  // tls: null for plaintext. gate: empty lets all pass. calls: records what is answered, null for nothing.
  // Errors: UNAVAILABLE naming the address when it cannot be bound.
  static absl::StatusOr<std::unique_ptr<HttpServer>> listen(
      boost::asio::io_context& loop, const std::string& host, int port, Routes routes, HttpLimits limits,
      std::shared_ptr<TlsFiles> tls = nullptr, HttpGate gate = {}, const CallRecorder* calls = nullptr);
  virtual ~HttpServer() = default;
  virtual int port() const = 0;
  // Connections that are open, idle ones included.
  virtual size_t num_connections() const = 0;
  // Takes no new connections and closes idle ones; the others close with their current answer.
  virtual void stop_accepting() = 0;
};

}  // namespace octet::router
