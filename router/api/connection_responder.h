// The half of an HTTP connection that a handler holds, for one request.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "router/api/http_connection.h"

namespace octet::router {

class ConnectionResponder final : public HttpResponder {
 public:
  ConnectionResponder(std::shared_ptr<HttpConnection> connection, boost::asio::io_context& loop);
  ~ConnectionResponder() override;

  void send(int status, std::string content_type, std::string body, HttpHeaders headers) override;
  void start_stream(int status, std::string content_type, HttpHeaders headers) override;
  void write(std::string bytes) override;
  void end_stream() override;
  void on_close(std::function<void()> callback) override;

  // The connection is gone.
  void lose();
  bool is_done() const { return state_ == State::kDone; }
  bool is_fresh() const { return state_ == State::kFresh; }

 private:
  enum class State { kFresh, kStreaming, kDone };

  void finish();

  const std::shared_ptr<HttpConnection> connection_;
  boost::asio::io_context& loop_;
  State state_ = State::kFresh;
  bool lost_ = false;
  std::function<void()> on_close_;
};

}  // namespace octet::router
