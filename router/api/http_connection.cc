#include "router/api/http_connection.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/beast/http/status.hpp>
#include <exception>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status.h"
#include "router/api/connection_responder.h"
#include "router/api/http_record.h"
#include "router/api/http_routes.h"

namespace octet::router {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// Of requests that a client sends before it has the answer to the one before.
constexpr size_t kMaxPipelinedBytes = 64 << 10;
// After a connection's last answer its client may still be sending; closing at once would reset the
// connection and could take the answer away from it. So the rest is read and thrown away, within these
// limits.
constexpr Duration kLingerTimeout = std::chrono::seconds(2);
constexpr size_t kMaxDiscardedBytes = 16 << 20;
// What TLS itself answers (alerts, new keys) and the client does not read.
constexpr size_t kMaxTlsAnswerBytes = 64 << 10;
// Buffers that grew larger than this are given back between requests.
constexpr size_t kKeptBufferBytes = 64 << 10;

constexpr int kClientClosedRequest = 499;  // nginx's; nothing was sent
constexpr std::string_view kJson = "application/json";

std::string_view reason_phrase(int status) {
  if (status == kClientClosedRequest) return "Client Closed Request";
  const auto reason = boost::beast::http::obsolete_reason(boost::beast::http::int_to_status(status));
  return {reason.data(), reason.size()};
}

// The message is one of ours: it needs no escaping.
std::string error_body(int status, std::string_view message) {
  const std::string_view type = status == 503   ? "service_unavailable_error"
                                : status >= 500 ? "internal_error"
                                                : "invalid_request_error";
  return absl::StrCat(R"({"error":{"message":")", absl_view(message), R"(","type":")", absl_view(type),
                      R"(","param":null,"code":null}})");
}

// A header's value may hold what a client sent; a line break in it would begin another header.
void append_header(std::string& out, std::string_view name, std::string_view value) {
  absl::StrAppend(&out, absl_view(name), ": ");
  std::copy_if(value.begin(), value.end(), std::back_inserter(out),
               [](char c) { return !absl::ascii_iscntrl(static_cast<unsigned char>(c)); });
  out += "\r\n";
}

}  // namespace

HttpConnection::HttpConnection(asio::ip::tcp::socket socket, std::shared_ptr<HttpServerState> server)
    : socket_(std::move(socket)), timer_(server->loop), server_(std::move(server)), parser_(server_->limits) {
  if (server_->tls != nullptr) tls_.emplace(server_->tls->current());
  server_->connections.insert(this);
}

HttpConnection::~HttpConnection() {
  count_body_bytes(0);
  server_->connections.erase(this);
}

void HttpConnection::start() {
  guarded([&] {
    error_code error;
    socket_.set_option(asio::ip::tcp::no_delay(true), error);
    socket_.non_blocking(true, error);
    if (error) return drop();
    advance();
  });
}

void HttpConnection::close_if_idle() {
  if (phase_ == Phase::kRequest && reading_ == HttpParser::State::kNothing) drop();
}

void HttpConnection::drop() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  end_record();
  disarm();
  error_code ignored;
  socket_.close(ignored);
  output_.clear();
  tls_output_.clear();
  if (const auto responder = responder_.lock()) responder->lose();
}

void HttpConnection::close_after(const std::exception& error) {
  spdlog::error("http: a connection was closed by an exception: {}", loggable(error.what()));
  drop();
}

// ---- Input

void HttpConnection::wait_readable() {
  if (waits_readable_ || input_ended_ || phase_ == Phase::kClosed) return;
  if (phase_ == Phase::kAnswer && parser_.num_waiting_bytes() >= kMaxPipelinedBytes) return;
  waits_readable_ = true;
  socket_.async_wait(asio::ip::tcp::socket::wait_read, [self = shared_from_this()](error_code) {
    self->waits_readable_ = false;
    self->guarded([&] { self->on_readable(); });
  });
}

void HttpConnection::on_readable() {
  if (phase_ == Phase::kClosed) return;
  error_code error;
  const size_t num_read = socket_.read_some(asio::buffer(server_->read_buffer), error);
  if (error == asio::error::would_block || error == asio::error::interrupted) return wait_readable();
  if (error) return on_input_end(error == asio::error::eof);
  if (phase_ == Phase::kLinger) {
    num_discarded_bytes_ += num_read;
    if (num_discarded_bytes_ > kMaxDiscardedBytes) return drop();
    return wait_readable();
  }
  const auto bytes = opened({server_->read_buffer.data(), num_read});
  if (!bytes) return;
  parser_.append(*bytes);
  if (phase_ == Phase::kRequest) {
    advance();
  } else {
    wait_readable();
  }
  if (tls_ && tls_->peer_closed() && phase_ != Phase::kClosed) on_input_end(/*clean=*/true);
}

std::optional<std::string_view> HttpConnection::opened(std::string_view bytes) {
  if (!tls_) return bytes;
  server_->opened.clear();
  absl::Status status = tls_->receive(bytes, server_->opened, tls_output_);
  if (writing_ && tls_output_.size() > kMaxTlsAnswerBytes)
    status = absl::UnavailableError("tls: reads nothing");
  if (status.ok()) {
    flush_soon();
    return server_->opened;
  }
  spdlog::debug("http: {}", text_of(status));
  error_code ignored;
  if (!writing_) socket_.write_some(asio::buffer(tls_output_), ignored);  // an alert: the client may say why
  drop();
  return std::nullopt;
}

void HttpConnection::on_input_end(bool clean) {
  input_ended_ = true;
  const bool answers = phase_ == Phase::kAnswer && answer_.is_whole;
  if (!clean || !answers) drop();
}

void HttpConnection::count_body_bytes(size_t num_bytes) {
  server_->num_unread_body_bytes += num_bytes - num_counted_body_bytes_;
  num_counted_body_bytes_ = num_bytes;
}

// Goes on with the request that is being read.
void HttpConnection::advance() {
  const HttpParser::State state = parser_.parse();
  count_body_bytes(parser_.num_body_bytes());
  const bool entered = state != reading_;
  reading_ = state;
  const HttpLimits& limits = server_->limits;
  switch (state) {
    case HttpParser::State::kFailed:
      return refuse(parser_.failure().status, parser_.failure().message);
    case HttpParser::State::kComplete:
      return dispatch();
    case HttpParser::State::kNothing:
      if (entered) arm(is_first_request_ ? limits.header_timeout : limits.idle_timeout);
      break;
    case HttpParser::State::kHeader:
      if (entered) arm(limits.header_timeout);
      break;
    case HttpParser::State::kBody:
      if (entered) arm(limits.body_timeout);
      await_body();
      break;
  }
  if (phase_ != Phase::kRequest) return;
  if (input_ended_) return drop();
  wait_readable();
}

// The header is whole and the body is not: refuses what needs no body to be refused, before it is sent.
void HttpConnection::await_body() {
  const HttpRoute* route = find_route(server_->routes, parser_.request().path);
  if (route == nullptr || find_handler(*route, parser_.request().method) == nullptr) return dispatch();
  if (const auto refused = refusal(parser_.request())) {
    return refuse_with(refused->status, refused->body, refused->headers);
  }
  if (server_->num_unread_body_bytes > server_->limits.max_unread_body_bytes) {
    return refuse(503, "too many request bodies are being received", {{"Retry-After", "1"}});
  }
  if (!parser_.expects_continue() || sent_continue_) return;
  sent_continue_ = true;
  output_ += "HTTP/1.1 100 Continue\r\n\r\n";
  flush_soon();
}

// ---- Requests

void HttpConnection::begin_record() {
  if (server_->calls == nullptr || record_) return;
  error_code unknown;
  const asio::ip::tcp::endpoint client = socket_.remote_endpoint(unknown);
  const bool is_v6 = client.address().is_v6();
  record_ = begin_http_record(
      *server_->calls, parser_.request(), find_route(server_->routes, parser_.request().path),
      absl::StrCat(is_v6 ? "[" : "", client.address().to_string(), is_v6 ? "]" : "", ":", client.port()));
  parser_.request().record = record_;
}

void HttpConnection::end_record() {
  if (!record_) return;
  if (record_->http_status == 0) record_->http_status = kClientClosedRequest;
  record_->end(now());
  record_.reset();
}

void HttpConnection::enter_answer(bool request_is_whole) {
  begin_record();
  phase_ = Phase::kAnswer;
  answer_ = {.request_id = parser_.request_id(),
             .is_http_1_0 = parser_.is_http_1_0(),
             .keep_alive = request_is_whole && parser_.keeps_alive() && !server_->stopping};
  count_body_bytes(0);
  disarm();
  if (writing_) arm(server_->limits.write_timeout);  // a "100 Continue"
}

void HttpConnection::dispatch() {
  enter_answer(reading_ == HttpParser::State::kComplete);
  is_first_request_ = false;
  HttpRequest request = std::move(parser_.request());
  answer_.omits_body = request.method == "HEAD";
  const HttpRoute* route = find_route(server_->routes, request.path);
  const HttpHandler* handler = route != nullptr ? find_handler(*route, request.method) : nullptr;
  if (handler == nullptr) {
    if (route == nullptr) {
      send(404, kJson, error_body(404, "there is nothing at this path"), {});
    } else if (request.method == "OPTIONS") {
      send(204, "", "", {{"Allow", allowed_methods(*route)}});
    } else {
      send(405, kJson, error_body(405, "this path does not know this method"),
           {{"Allow", allowed_methods(*route)}});
    }
    return wait_readable();
  }
  if (const auto refused = refusal(request)) {
    send(refused->status, kJson, refused->body, refused->headers);
    return wait_readable();
  }
  const auto responder = std::make_shared<ConnectionResponder>(shared_from_this(), server_->loop);
  responder_ = responder;
  try {
    (*handler)(request, responder);
  } catch (const std::exception& e) {
    spdlog::error("http: a handler threw: {}", loggable(e.what()));
    if (responder->is_fresh()) {
      responder->send(500, std::string(kJson), error_body(500, "internal error"), {});
    } else if (!responder->is_done()) {
      return drop();
    }
  }
  if (input_ended_ && !answer_.is_whole) return drop();
  wait_readable();
}

std::optional<HttpRefusal> HttpConnection::refusal(HttpRequest& request) {
  if (passed_gate_ || !server_->gate) return std::nullopt;
  begin_record();
  auto refused = server_->gate(request);
  passed_gate_ = !refused;
  return refused;
}

// Answers a request that will not be read to its end, and closes.
void HttpConnection::refuse(int status, std::string_view message, const HttpHeaders& headers) {
  refuse_with(status, error_body(status, message), headers);
}

void HttpConnection::refuse_with(int status, const std::string& body, const HttpHeaders& headers) {
  enter_answer(/*request_is_whole=*/false);
  parser_.next();  // what came of the body is given back now, not when the client has gone
  send(status, kJson, body, headers);
}

// ---- Answers

void HttpConnection::queue_head(int status, std::string_view content_type, const HttpHeaders& headers,
                                std::string_view framing) {
  if (record_) record_->http_status = status;
  absl::StrAppend(&output_, "HTTP/1.1 ", status, " ", absl_view(reason_phrase(status)),
                  "\r\nServer: octet\r\n");
  if (!content_type.empty()) append_header(output_, "Content-Type", content_type);
  for (const auto& [name, value] : headers) append_header(output_, name, value);
  const bool has_id = std::any_of(headers.begin(), headers.end(),
                                  [](const auto& header) { return header.first == kRequestIdHeader; });
  if (!has_id) append_header(output_, kRequestIdHeader, answer_.request_id);
  if (!answer_.keep_alive) {
    output_ += "Connection: close\r\n";
  } else if (answer_.is_http_1_0) {
    output_ += "Connection: keep-alive\r\n";
  }
  absl::StrAppend(&output_, absl_view(framing), "\r\n");
}

void HttpConnection::send(int status, std::string_view content_type, std::string_view body,
                          const HttpHeaders& headers) {
  if (phase_ != Phase::kAnswer) return;
  const std::string length = status == 204 ? "" : absl::StrCat("Content-Length: ", body.size(), "\r\n");
  queue_head(status, content_type, headers, length);
  if (!answer_.omits_body) output_ += body;
  answer_.is_whole = true;
  flush_soon();
}

void HttpConnection::start_stream(int status, std::string_view content_type, const HttpHeaders& headers) {
  if (phase_ != Phase::kAnswer) return;
  if (answer_.is_http_1_0) answer_.keep_alive = false;  // the body ends where the connection does
  queue_head(status, content_type, headers, answer_.is_http_1_0 ? "" : "Transfer-Encoding: chunked\r\n");
  flush_soon();
}

void HttpConnection::write(std::string_view bytes) {
  if (phase_ != Phase::kAnswer || bytes.empty() || answer_.omits_body) return;
  const size_t num_queued = output_.size() + in_flight_.size() - num_written_;
  if (num_queued + bytes.size() > server_->limits.max_queued_bytes) return drop();
  if (answer_.is_http_1_0) {
    output_ += bytes;
  } else {
    absl::StrAppend(&output_, absl::Hex(bytes.size()), "\r\n", absl_view(bytes), "\r\n");
  }
  flush_soon();
}

void HttpConnection::end_stream() {
  if (phase_ != Phase::kAnswer) return;
  if (!answer_.is_http_1_0 && !answer_.omits_body) output_ += "0\r\n\r\n";
  answer_.is_whole = true;
  // A close-delimited body may have been written whole before its end was known.
  if (output_.empty() && !writing_) return finish_answer();
  flush_soon();
}

// A handler let go of the request without an answer.
void HttpConnection::abandon(bool started) {
  if (phase_ != Phase::kAnswer) return;
  guarded([&] {
    if (started) return drop();
    send(500, kJson, error_body(500, "internal error"), {});
  });
}

// What a turn of the loop writes goes out together at its end, and no handler is called from inside another.
void HttpConnection::flush_soon() {
  if (writing_ || will_flush_ || !has_output()) return;
  will_flush_ = true;
  asio::post(server_->loop, [self = shared_from_this()] {
    self->will_flush_ = false;
    self->guarded([&] { self->flush(); });
  });
}

void HttpConnection::flush() {
  if (writing_ || !has_output()) return;
  in_flight_.clear();
  if (tls_) {
    in_flight_.swap(tls_output_);
    if (!tls_->send(output_, in_flight_).ok()) return drop();
    output_.clear();
  } else {
    in_flight_.swap(output_);
  }
  num_written_ = 0;
  write_some();
}

void HttpConnection::write_some() {
  error_code error;
  while (num_written_ < in_flight_.size() && !error) {
    num_written_ += socket_.write_some(asio::buffer(in_flight_) + num_written_, error);
  }
  if (error == asio::error::would_block || error == asio::error::interrupted) return wait_writable();
  if (error) return drop();
  in_flight_.clear();
  num_written_ = 0;
  if (has_output()) return flush_soon();
  if (phase_ == Phase::kLinger) return end_sending();
  if (phase_ != Phase::kAnswer) return;
  disarm();
  if (answer_.is_whole) finish_answer();
}

void HttpConnection::wait_writable() {
  writing_ = true;
  if (phase_ == Phase::kAnswer) arm(server_->limits.write_timeout);
  socket_.async_wait(asio::ip::tcp::socket::wait_write, [self = shared_from_this()](error_code) {
    self->writing_ = false;
    if (self->phase_ != Phase::kClosed) self->guarded([&] { self->write_some(); });
  });
}

// The answer is on its way to the client: the next request, or the end.
void HttpConnection::finish_answer() {
  end_record();
  if (!answer_.keep_alive || server_->stopping) return linger();
  if (output_.capacity() > kKeptBufferBytes) output_ = {};
  if (in_flight_.capacity() > kKeptBufferBytes) in_flight_ = {};
  phase_ = Phase::kRequest;
  reading_ = HttpParser::State::kComplete;
  sent_continue_ = false;
  passed_gate_ = false;
  parser_.next();
  advance();
}

void HttpConnection::linger() {
  phase_ = Phase::kLinger;
  arm(kLingerTimeout);
  if (tls_) tls_->close(tls_output_);
  if (has_output()) {
    flush_soon();
  } else {
    end_sending();
  }
  if (phase_ == Phase::kLinger) wait_readable();
}

void HttpConnection::end_sending() {
  error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  if (input_ended_) drop();
}

// ---- Time

// Deadlines change several times a request and are hardly ever met: a timer that is due before the deadline
// stays as it is, and finds out then.
void HttpConnection::arm(Duration timeout) {
  deadline_ = now() + timeout;
  if (deadline_ >= timer_due_) return;
  timer_due_ = deadline_;
  timer_.expires_at(timer_due_);
  timer_.async_wait([weak = weak_from_this()](error_code error) {
    const auto self = weak.lock();
    if (!error && self && self->phase_ != Phase::kClosed) self->guarded([&] { self->on_timer(); });
  });
}

void HttpConnection::disarm() {
  deadline_ = kNoDeadline;
}

void HttpConnection::on_timer() {
  timer_due_ = kNoDeadline;
  if (deadline_ == kNoDeadline) return;
  const Time time = now();
  if (deadline_ > time) return arm(deadline_ - time);
  deadline_ = kNoDeadline;
  on_timeout();
}

void HttpConnection::on_timeout() {
  if (phase_ == Phase::kRequest && reading_ == HttpParser::State::kHeader) {
    return refuse(408, "the header did not arrive in time");
  }
  if (phase_ == Phase::kRequest && reading_ == HttpParser::State::kBody) {
    return refuse(408, "the body did not arrive in time");
  }
  drop();
}

}  // namespace octet::router
