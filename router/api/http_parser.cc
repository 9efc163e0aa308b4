#include "router/api/http_parser.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/request/request_id.h"

namespace octet::router {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using boost::beast::string_view;

constexpr size_t kMaxFields = 256;
// Of a chunk's header with its extensions, and of the trailer.
constexpr size_t kMaxChunkHeaderBytes = 8 << 10;
// "0\r\n\r\n": every chunked body ends with at least so much, so fewer bytes never finish one. Beast 1.81
// also counts on it: it asserts on shorter input once it has seen the last chunk's size.
constexpr size_t kShortestChunkEnd = 5;

std::string_view view(string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

// Beast's parser, writing straight into an HttpRequest. A check of ours that fails leaves its reason in
// failure.
class HttpParser::Machine final : public http::basic_parser<true> {
 public:
  Machine() { request.id = make_request_id(); }

  HttpRequest request;
  HttpFailure failure;
  bool failed = false;
  bool is_http_1_0 = false;
  bool expects_continue = false;

 private:
  void refuse(int status, std::string message, error_code& error) {
    failed = true;
    failure = {status, std::move(message)};
    error = http::error::bad_field;
  }

  void on_request_impl(http::verb, string_view method, string_view target, int version,
                       error_code& error) override {
    request.method = view(method);
    is_http_1_0 = version == 10;
    const std::string_view whole = view(target);
    if (!whole.starts_with('/') && whole != "*") {
      return refuse(400, "the request's target must be a path", error);
    }
    const size_t question = whole.find('?');
    request.path = whole.substr(0, question);
    if (question != std::string_view::npos) request.query = whole.substr(question + 1);
  }

  void on_field_impl(http::field, string_view name, string_view value, error_code& error) override {
    if (is_header_done()) return;  // a trailer says nothing that we use
    if (request.headers.size() >= kMaxFields) {
      return refuse(431, absl::StrCat("at most ", kMaxFields, " header fields are accepted"), error);
    }
    std::string lower = absl::AsciiStrToLower(absl_view(view(name)));
    check_field(lower, view(value), error);
    request.headers.emplace_back(std::move(lower), view(value));
  }

  void check_field(std::string_view name, std::string_view value, error_code& error) {
    if (name == "transfer-encoding") {
      if (!absl::EqualsIgnoreCase(absl_view(value), "chunked")) {
        refuse(501, "transfer-encoding: only chunked is supported", error);
      } else if (is_http_1_0) {
        refuse(400, "transfer-encoding: not allowed in HTTP/1.0", error);
      }
    } else if (name == "content-encoding") {
      if (!absl::EqualsIgnoreCase(absl_view(value), "identity")) {
        refuse(415, "content-encoding: compressed bodies are not supported", error);
      }
    } else if (name == "expect" && !is_http_1_0) {
      expects_continue = absl::EqualsIgnoreCase(absl_view(value), "100-continue");
      if (!expects_continue) refuse(417, "expect: only 100-continue is supported", error);
    } else if (name == "host" && ++num_hosts_ > 1) {
      refuse(400, "host: given more than once", error);
    } else if (name == kRequestIdHeader) {
      take_request_id(value, error);
    }
  }

  void take_request_id(std::string_view id, error_code& error) {
    if (id.empty()) return;
    if (const absl::Status status = check_request_id(kRequestIdHeader, id); status.ok()) {
      request.id = id;
    } else {
      refuse(400, std::string(status.message()), error);
    }
  }

  void on_header_impl(error_code& error) override {
    if (!is_http_1_0 && num_hosts_ == 0) refuse(400, "host: required in HTTP/1.1", error);
  }

  size_t on_body_impl(string_view body, error_code&) override {
    request.body.append(body.data(), body.size());
    return body.size();
  }
  size_t on_chunk_body_impl(uint64_t, string_view body, error_code& error) override {
    return on_body_impl(body, error);
  }

  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
  void on_chunk_header_impl(uint64_t, string_view, error_code&) override {}
  void on_finish_impl(error_code&) override {}

  int num_hosts_ = 0;
};

HttpParser::HttpParser(const HttpLimits& limits)
    : max_header_bytes_(limits.max_header_bytes), max_body_bytes_(limits.max_body_bytes) {}

HttpParser::~HttpParser() = default;

void HttpParser::append(std::string_view bytes) {
  waiting_.append(bytes);
}

HttpParser::State HttpParser::parse() {
  if (state_ == State::kComplete || state_ == State::kFailed) return state_;
  if (!machine_) {
    // Empty lines before a request are ignored (RFC 9112 section 2.2).
    waiting_.erase(0, std::min(waiting_.find_first_not_of("\r\n"), waiting_.size()));
    if (waiting_.empty()) return state_ = State::kNothing;
    machine_ = std::make_unique<Machine>();
    machine_->eager(true);
    machine_->header_limit(static_cast<uint32_t>(max_header_bytes_));
    machine_->body_limit(max_body_bytes_);
  }
  const bool in_chunks = state_ == State::kBody && machine_->chunked();
  if (waiting_.empty() || (in_chunks && waiting_.size() < kShortestChunkEnd)) return state_;
  return advance();
}

HttpParser::State HttpParser::advance() {
  error_code error;
  const size_t num_used = machine_->put(boost::asio::buffer(waiting_), error);
  waiting_.erase(0, num_used);
  if (machine_->failed) return fail(machine_->failure.status, std::move(machine_->failure.message));
  if (error == http::error::header_limit) {
    return fail(431, absl::StrCat("the header is longer than ", max_header_bytes_, " bytes"));
  }
  if (error == http::error::body_limit) {
    return fail(413, absl::StrCat("the body is longer than ", max_body_bytes_, " bytes"));
  }
  if (error == http::error::bad_version) return fail(505, "only HTTP/1.0 and HTTP/1.1 are supported");
  if (error && error != http::error::need_more) {
    return fail(400, absl::StrCat("the request is not valid HTTP: ", error.message()));
  }
  if (machine_->is_done()) return state_ = State::kComplete;
  if (!machine_->is_header_done()) return state_ = State::kHeader;
  if (machine_->chunked() && waiting_.size() > kMaxChunkHeaderBytes) {
    return fail(
        400, absl::StrCat("a chunk's header or the trailer is longer than ", kMaxChunkHeaderBytes, " bytes"));
  }
  return state_ = State::kBody;
}

HttpParser::State HttpParser::fail(int status, std::string message) {
  failure_ = {status, std::move(message)};
  return state_ = State::kFailed;
}

void HttpParser::next() {
  machine_.reset();
  if (waiting_.empty()) waiting_ = std::string();  // an idle connection keeps no buffer
  state_ = State::kNothing;
}

HttpRequest& HttpParser::request() {
  return machine_->request;
}
std::string HttpParser::request_id() const {
  return machine_ ? machine_->request.id : make_request_id();
}
bool HttpParser::is_http_1_0() const {
  return machine_ && machine_->is_http_1_0;
}
bool HttpParser::keeps_alive() const {
  return machine_ && machine_->is_header_done() && machine_->keep_alive();
}
bool HttpParser::expects_continue() const {
  return machine_ && machine_->expects_continue;
}
size_t HttpParser::num_body_bytes() const {
  return machine_ ? machine_->request.body.size() : 0;
}

}  // namespace octet::router
