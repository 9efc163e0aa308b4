// One client's connection to the HTTP server: reads a request, hands it to its route, writes the answer, then
// the next.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "router/api/http_parser.h"
#include "router/api/http_server.h"
#include "router/api/tls_session.h"

namespace octet::router {

class HttpConnection;
class ConnectionResponder;

// What the connections of one server share.
struct HttpServerState {
  boost::asio::io_context& loop;
  HttpServer::Routes routes;
  HttpLimits limits;
  std::shared_ptr<TlsFiles> tls;                    // null: plaintext
  HttpGate gate;                                    // may be empty
  const CallRecorder* calls;                        // null: calls are not recorded
  std::unordered_set<HttpConnection*> connections;  // each one takes itself out when it is destroyed
  std::vector<char> read_buffer;                    // used and left within one call, as the next
  std::string opened;                               // read_buffer's bytes out of TLS
  size_t num_unread_body_bytes = 0;
  bool stopping = false;
};

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(boost::asio::ip::tcp::socket socket, std::shared_ptr<HttpServerState> server);
  ~HttpConnection();

  void start();
  // Closes the connection if no request is being read or answered.
  void close_if_idle();
  // Closes it now; a responder that has not finished hears of it.
  void drop();

 private:
  friend class ConnectionResponder;

  enum class Phase { kRequest, kAnswer, kLinger, kClosed };

  // Runs a step of the connection; what it throws ends the connection and nothing else.
  template <typename Step>
  void guarded(Step step) {
    try {
      step();
    } catch (const std::exception& error) {
      close_after(error);
    }
  }
  void close_after(const std::exception& error);

  void wait_readable();
  void on_readable();
  // What the client sent, out of TLS; nothing when the connection has failed and was dropped.
  std::optional<std::string_view> opened(std::string_view bytes);
  void on_input_end(bool clean);
  void count_body_bytes(size_t num_bytes);

  void advance();
  void await_body();
  // Why the request may not pass; asks the gate once a request.
  std::optional<HttpRefusal> refusal(HttpRequest& request);
  void begin_record();
  void end_record();
  void enter_answer(bool request_is_whole);
  void dispatch();
  void refuse(int status, std::string_view message, const HttpHeaders& headers = {});
  void refuse_with(int status, const std::string& body, const HttpHeaders& headers);

  void queue_head(int status, std::string_view content_type, const HttpHeaders& headers,
                  std::string_view framing);
  void send(int status, std::string_view content_type, std::string_view body, const HttpHeaders& headers);
  void start_stream(int status, std::string_view content_type, const HttpHeaders& headers);
  void write(std::string_view bytes);
  void end_stream();
  void abandon(bool started);
  bool has_output() const { return !output_.empty() || !tls_output_.empty(); }
  void flush_soon();
  void flush();
  void write_some();
  void wait_writable();
  void finish_answer();
  void linger();
  void end_sending();

  // One deadline at a time; on_timeout() when it has come.
  void arm(Duration timeout);
  void disarm();
  void on_timer();
  void on_timeout();

  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  const std::shared_ptr<HttpServerState> server_;
  std::optional<TlsSession> tls_;
  std::string tls_output_;  // encrypted, before all of output_
  HttpParser parser_;
  Phase phase_ = Phase::kRequest;
  HttpParser::State reading_ = HttpParser::State::kComplete;  // how far the deadline in force reaches
  std::weak_ptr<ConnectionResponder> responder_;              // of the request being answered

  std::shared_ptr<CallRecord> record_;  // of the request being read or answered

  bool is_first_request_ = true;
  bool waits_readable_ = false;
  bool input_ended_ = false;
  bool sent_continue_ = false;
  bool passed_gate_ = false;
  // The answer being written.
  struct Answer {
    std::string request_id;
    bool is_http_1_0 = false;
    bool keep_alive = false;
    bool omits_body = false;  // to HEAD
    bool is_whole = false;    // nothing more will be queued
  };
  Answer answer_;

  std::string output_;  // queued behind in_flight_
  std::string in_flight_;
  size_t num_written_ = 0;   // of in_flight_
  bool writing_ = false;     // the client takes no more for now
  bool will_flush_ = false;  // at the end of the loop's turn
  size_t num_counted_body_bytes_ = 0;
  size_t num_discarded_bytes_ = 0;
  Time deadline_ = kNoDeadline;
  Time timer_due_ = kNoDeadline;
};

}  // namespace octet::router
