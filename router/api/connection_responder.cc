#include "router/api/connection_responder.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "base/check.h"

namespace octet::router {

ConnectionResponder::ConnectionResponder(std::shared_ptr<HttpConnection> connection,
                                         boost::asio::io_context& loop)
    : connection_(std::move(connection)), loop_(loop) {}

ConnectionResponder::~ConnectionResponder() {
  if (state_ != State::kDone) connection_->abandon(state_ == State::kStreaming);
}

void ConnectionResponder::send(int status, std::string content_type, std::string body, HttpHeaders headers) {
  OCTET_CHECK(state_ != State::kStreaming, "send() on a stream");
  if (state_ == State::kDone) return;
  finish();
  connection_->guarded([&] { connection_->send(status, content_type, body, headers); });
}

void ConnectionResponder::start_stream(int status, std::string content_type, HttpHeaders headers) {
  OCTET_CHECK(state_ != State::kStreaming, "start_stream() twice");
  if (state_ == State::kDone) return;
  state_ = State::kStreaming;
  connection_->guarded([&] { connection_->start_stream(status, content_type, headers); });
}

void ConnectionResponder::write(std::string bytes) {
  if (state_ != State::kStreaming) return;
  connection_->guarded([&] { connection_->write(bytes); });
}

void ConnectionResponder::end_stream() {
  if (state_ != State::kStreaming) return;
  finish();
  connection_->guarded([&] { connection_->end_stream(); });
}

void ConnectionResponder::on_close(std::function<void()> callback) {
  if (lost_) {
    boost::asio::post(loop_, std::move(callback));
  } else if (state_ != State::kDone) {
    on_close_ = std::move(callback);
  }
}

void ConnectionResponder::lose() {
  if (state_ == State::kDone) return;
  state_ = State::kDone;
  lost_ = true;
  if (on_close_) boost::asio::post(loop_, std::exchange(on_close_, nullptr));
}

void ConnectionResponder::finish() {
  state_ = State::kDone;
  on_close_ = nullptr;
}

}  // namespace octet::router
