// What the load generator needs of an API: send one prompt, get the whole answer with the time of each piece.
// One implementation an API; all of them stream where the API can.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "tools/bench/prompt_set.h"

namespace octet::bench {

// One message with output reached the client.
struct Arrival {
  Time at;
  uint32_t num_tokens = 1;  // where the API does not say: 1
};

// Why a request gave no whole answer.
struct Failure {
  std::string
      kind;  // few values: "connection", "timeout", "malformed answer", "http 429", "RESOURCE_EXHAUSTED", ...
  std::string detail;  // the first words of what the server or the socket said
};

struct Answer {
  std::optional<Failure> failure;
  std::string text;  // without the end string
  std::vector<Arrival> arrivals;
  std::optional<uint32_t> num_tokens;  // generated, as the server counts them; absent where it does not tell
  Time end;
};

class Client {
 public:
  virtual ~Client() = default;
  // Whether this API can take the prompt at all; asked for every prompt before a run. Errors:
  // INVALID_ARGUMENT.
  virtual absl::Status check(const Prompt& prompt) const = 0;
  // Sends; on_answer runs once on the event loop, at the latest shortly after the timeout. Event loop only.
  virtual void send(const Prompt& prompt, Duration timeout, std::function<void(Answer)> on_answer) = 0;
};

// "host:port", "[::1]:port".
struct Endpoint {
  std::string host;
  std::string port;
};
absl::StatusOr<Endpoint> parse_endpoint(const std::string& text);

enum class HttpApi { kOpenai, kNemo };

// What all requests of a run carry.
struct Caller {
  std::string model;    // as clients name it; empty for the router's own
  std::string api_key;  // empty: none
};

// octet.v1.Generation.
std::unique_ptr<Client> make_grpc_client(boost::asio::io_context& loop, const std::string& target,
                                         const Caller& caller);
// POST /v1/chat/completions or /v1/completions with server-sent events, or PUT /generate, which neither
// streams nor names a model. Errors: NOT_FOUND when the host's name cannot be resolved.
absl::StatusOr<std::unique_ptr<Client>> make_http_client(boost::asio::io_context& loop,
                                                         const Endpoint& target, HttpApi api,
                                                         const Caller& caller);

}  // namespace octet::bench
