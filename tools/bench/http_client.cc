// Requests over HTTP/1.1 with Beast, on kept-alive connections: a connection carries one request at a time
// and goes back to the pool of idle ones after it.
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>

#include "absl/strings/str_cat.h"
#include "tools/bench/client.h"
#include "tools/bench/http_answer.h"

namespace octet::bench {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace json = boost::json;
using boost::asio::ip::tcp;
using boost::beast::error_code;

constexpr uint64_t kMaxBodyBytes = 64 << 20;

// What all requests of a run share.
struct Connections {
  asio::io_context& loop;
  tcp::resolver::results_type addresses;
  std::vector<std::unique_ptr<beast::tcp_stream>> idle;
};

// One request and its answer.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(Connections& connections, HttpApi api, const Prompt& prompt,
           http::request<http::string_body> request, Duration timeout, std::function<void(Answer)> on_answer)
      : connections_(connections),
        api_(api),
        prompt_(prompt),
        request_(std::move(request)),
        deadline_(now() + timeout),
        on_answer_(std::move(on_answer)) {}

  void run() {
    if (connections_.idle.empty()) {
      connect();
      return;
    }
    stream_ = std::move(connections_.idle.back());
    connections_.idle.pop_back();
    reused_ = true;
    write();
  }

 private:
  void connect() {
    stream_ = std::make_unique<beast::tcp_stream>(connections_.loop);
    stream_->expires_at(deadline_);
    stream_->async_connect(connections_.addresses,
                           [self = shared_from_this()](error_code ec, const tcp::endpoint&) {
                             if (ec) {
                               self->fail(ec);
                               return;
                             }
                             error_code ignored;
                             self->stream_->socket().set_option(tcp::no_delay(true), ignored);
                             self->write();
                           });
  }

  void write() {
    stream_->expires_at(deadline_);
    parser_.emplace();
    parser_->body_limit(kMaxBodyBytes);
    http::async_write(*stream_, request_, [self = shared_from_this()](error_code ec, size_t) {
      if (ec) {
        self->fail(ec);
      } else {
        self->read();
      }
    });
  }

  void read() {
    http::async_read_some(*stream_, buffer_, *parser_, [self = shared_from_this()](error_code ec, size_t) {
      if (!ec) self->take_events();
      if (ec) {
        self->fail(ec);
      } else if (!self->parser_->is_done()) {
        self->read();
      } else {
        self->finish();
      }
    });
  }

  bool streams() const {
    return parser_->is_header_done() && parser_->get().result_int() == 200 &&
           parser_->get()[http::field::content_type].starts_with("text/event-stream");
  }

  void take_events() {
    if (!streams()) return;
    std::string& body = parser_->get().body();
    for (const std::string& event : events_.feed(body)) read_openai_event(event, now(), answer_, done_);
    body.clear();  // read; the stream may be long
  }

  void finish() {
    const auto& response = parser_->get();
    if (response.result_int() != 200) {
      answer_.failure = Failure{absl::StrCat("http ", response.result_int()), error_detail(response.body())};
    } else if (api_ == HttpApi::kNemo) {
      read_nemo_body(response.body(), prompt_, answer_);
    } else if (!done_ && !answer_.failure) {
      answer_.failure = Failure{"malformed answer", "the stream ended without [DONE]"};
    }
    if (parser_->keep_alive()) {
      stream_->expires_never();
      connections_.idle.push_back(std::move(stream_));
    }
    answered();
  }

  void fail(error_code ec) {
    // The server may close an idle connection at the moment that it is used again; nothing was answered on
    // it.
    if (reused_ && ec != beast::error::timeout && !parser_->got_some()) {
      reused_ = false;
      buffer_.clear();
      connect();
      return;
    }
    answer_.failure = ec == beast::error::timeout ? Failure{"timeout", "no whole answer in time"}
                                                  : Failure{"connection", ec.message()};
    answered();
  }

  void answered() {
    answer_.end = now();
    on_answer_(std::move(answer_));
  }

  Connections& connections_;
  const HttpApi api_;
  const Prompt& prompt_;
  http::request<http::string_body> request_;
  const Time deadline_;
  std::function<void(Answer)> on_answer_;
  std::unique_ptr<beast::tcp_stream> stream_;
  bool reused_ = false;
  beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::string_body>> parser_;
  EventReader events_;
  bool done_ = false;
  Answer answer_;
};

class HttpClient : public Client {
 public:
  HttpClient(asio::io_context& loop, const Endpoint& target, tcp::resolver::results_type addresses,
             HttpApi api, Caller caller)
      : api_(api),
        host_(absl::StrCat(target.host, ":", target.port)),
        caller_(std::move(caller)),
        connections_{loop, std::move(addresses), {}} {}

  absl::Status check(const Prompt& prompt) const override {
    if (api_ == HttpApi::kNemo && !prompt.text) {
      return absl::InvalidArgumentError("PUT /generate takes no messages; \"prompt\" must be given");
    }
    return absl::OkStatus();
  }

  void send(const Prompt& prompt, Duration timeout, std::function<void(Answer)> on_answer) override {
    const bool nemo = api_ == HttpApi::kNemo;
    http::request<http::string_body> request;
    request.method(nemo ? http::verb::put : http::verb::post);
    request.target(nemo ? "/generate" : prompt.messages.empty() ? "/v1/completions" : "/v1/chat/completions");
    request.set(http::field::host, host_);
    request.set(http::field::content_type, "application/json");
    if (!caller_.api_key.empty()) {
      request.set(http::field::authorization, absl::StrCat("Bearer ", caller_.api_key));
    }
    request.body() = json::serialize(nemo ? nemo_body(prompt) : openai_body(prompt));
    request.prepare_payload();
    std::make_shared<Exchange>(connections_, api_, prompt, std::move(request), timeout, std::move(on_answer))
        ->run();
  }

 private:
  json::object openai_body(const Prompt& prompt) const {
    json::object body{{"max_tokens", prompt.max_tokens},
                      {"temperature", prompt.temperature},
                      {"stream", true},
                      {"stream_options", {{"include_usage", true}}}};
    if (!caller_.model.empty()) body["model"] = caller_.model;
    if (prompt.seed) body["seed"] = *prompt.seed;
    if (prompt.messages.empty()) {
      body["prompt"] = *prompt.text;
      return body;
    }
    json::array& messages = body["messages"].emplace_array();
    for (const ChatMessage& message : prompt.messages) {
      messages.push_back({{"role", message.role}, {"content", message.content}});
    }
    return body;
  }

  static json::object nemo_body(const Prompt& prompt) {
    const bool greedy = prompt.temperature == 0;
    json::object body{{"sentences", json::array{*prompt.text}},
                      {"tokens_to_generate", prompt.max_tokens},
                      {"temperature", greedy ? 1.0 : prompt.temperature},
                      {"greedy", greedy},
                      {"top_k", 0},
                      {"top_p", 1.0},
                      {"repetition_penalty", 1.0},
                      {"end_strings", json::array{"<|endoftext|>", std::string(kNemoEndString)}}};
    if (prompt.seed) body["random_seed"] = *prompt.seed;
    return body;
  }

  const HttpApi api_;
  const std::string host_;
  const Caller caller_;
  Connections connections_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> make_http_client(asio::io_context& loop, const Endpoint& target,
                                                         HttpApi api, const Caller& caller) {
  error_code ec;
  tcp::resolver resolver(loop);
  auto addresses = resolver.resolve(target.host, target.port, ec);
  if (ec) return absl::NotFoundError(absl::StrCat(target.host, ": ", ec.message()));
  return std::make_unique<HttpClient>(loop, target, std::move(addresses), api, caller);
}

}  // namespace octet::bench
