// Turns the bytes of one connection into HTTP/1.0 and HTTP/1.1 requests, and refuses what is broken, too
// large or ambiguous. Knows nothing of sockets or time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "router/api/http_server.h"

namespace octet::router {

// Why a request was refused; the connection cannot be used after it.
struct HttpFailure {
  int status = 400;
  std::string message;
};

class HttpParser {
 public:
  enum class State {
    kNothing,   // no byte of a request yet
    kHeader,    // the header is not complete
    kBody,      // request() has everything but the whole body
    kComplete,  // request() is whole
    kFailed,    // failure() says why
  };

  explicit HttpParser(const HttpLimits& limits);
  ~HttpParser();

  // Keeps bytes for parse().
  void append(std::string_view bytes);
  // Goes as far as the bytes reach, at most to the end of one request.
  State parse();
  // Forgets a complete request; what came after it begins the next one.
  void next();

  const HttpFailure& failure() const { return failure_; }
  // From kBody on.
  HttpRequest& request();
  // Of the request being read, even if it is not whole or was refused.
  std::string request_id() const;
  bool is_http_1_0() const;
  bool keeps_alive() const;       // the client asked for it, or its version implies it
  bool expects_continue() const;  // the client waits for "100 Continue" before it sends the body

  size_t num_waiting_bytes() const { return waiting_.size(); }  // kept and not parsed yet
  size_t num_body_bytes() const;

 private:
  class Machine;
  State advance();
  State fail(int status, std::string message);

  const size_t max_header_bytes_;
  const size_t max_body_bytes_;
  std::string waiting_;
  std::unique_ptr<Machine> machine_;
  State state_ = State::kNothing;
  HttpFailure failure_;
};

}  // namespace octet::router
