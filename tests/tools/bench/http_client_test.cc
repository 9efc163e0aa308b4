// The HTTP client against a server of canned bytes, one thread a test, one answer a connection or request.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/tools/bench/unanswered_port.h"
#include "tools/bench/client.h"

namespace octet::bench {
namespace {

using boost::asio::ip::tcp;
using testing::HasSubstr;

// Takes one connection, and for each canned answer reads a request's head and writes the answer; then closes.
class CannedServer {
 public:
  explicit CannedServer(std::vector<std::string> answers) : answers_(std::move(answers)) {
    thread_ = std::thread([this] { serve(); });
  }
  ~CannedServer() { heads(); }

  Endpoint endpoint() const { return {"127.0.0.1", absl::StrCat(acceptor_.local_endpoint().port())}; }

  // Of the requests; waits until the client is gone.
  const std::vector<std::string>& heads() {
    if (thread_.joinable()) thread_.join();
    return heads_;
  }

 private:
  void serve() {
    tcp::socket socket(loop_);
    boost::system::error_code ec;
    acceptor_.accept(socket, ec);
    boost::asio::streambuf buffer;
    for (const std::string& answer : answers_) {
      const size_t size = boost::asio::read_until(socket, buffer, "\r\n\r\n", ec);
      if (ec) return;
      const auto data = buffer.data();
      heads_.emplace_back(boost::asio::buffers_begin(data),
                          boost::asio::buffers_begin(data) + static_cast<long>(size));
      buffer.consume(buffer.size());
      boost::asio::write(socket, boost::asio::buffer(answer), ec);
    }
    // A client that expects no more closes first; one that waits for an answer is left alone until it gives
    // up.
    boost::asio::read_until(socket, buffer, "\r\n\r\n", ec);
  }

  boost::asio::io_context loop_;
  tcp::acceptor acceptor_{loop_, tcp::endpoint(boost::asio::ip::make_address("127.0.0.1"), 0)};
  const std::vector<std::string> answers_;
  std::vector<std::string> heads_;
  std::thread thread_;
};

std::string response(const std::string& head, const std::string& body) {
  return absl::StrCat("HTTP/1.1 ", head, "\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
}

// Sends the prompt so many times, one after another.
std::vector<Answer> ask(const CannedServer& server, HttpApi api, int num_times, Duration timeout) {
  boost::asio::io_context loop;
  auto client = make_http_client(loop, server.endpoint(), api, {.model = "", .api_key = "octet-key"});
  Prompt prompt;
  prompt.text = "Say hi.";
  std::vector<Answer> answers;
  for (int i = 0; i < num_times; ++i) {
    loop.restart();
    (*client)->send(prompt, timeout, [&](Answer answer) { answers.push_back(std::move(answer)); });
    loop.run();
  }
  return answers;
}

constexpr Duration kLong = std::chrono::seconds(20);
constexpr char kStream[] =
    "data: {\"choices\": [{\"text\": \"Hi\"}]}\n\n"
    "data: {\"choices\": [{\"text\": \"!\"}]}\n\n"
    "data: {\"choices\": [], \"usage\": {\"completion_tokens\": 2}}\n\ndata: [DONE]\n\n";

TEST(HttpClient, ReadsAStreamInChunks) {
  std::string chunked =
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const char c : std::string(kStream)) absl::StrAppend(&chunked, "1\r\n", std::string(1, c), "\r\n");
  CannedServer server({chunked + "0\r\n\r\n"});
  const std::vector<Answer> answers = ask(server, HttpApi::kOpenai, 1, kLong);
  ASSERT_FALSE(answers[0].failure.has_value()) << answers[0].failure->kind << answers[0].failure->detail;
  EXPECT_EQ(answers[0].text, "Hi!");
  EXPECT_EQ(answers[0].num_tokens, 2u);
  EXPECT_EQ(answers[0].arrivals.size(), 2u);
}

TEST(HttpClient, KeepsTheConnectionForTheNextRequest) {
  const std::string answer = response("200 OK", R"({"sentences": ["Say hi. Hi"], "token_ids": [[1]]})");
  CannedServer server({answer, answer, answer});  // on the one connection that it takes
  const std::vector<Answer> answers = ask(server, HttpApi::kNemo, 3, kLong);
  for (const Answer& one : answers) EXPECT_FALSE(one.failure.has_value());
  EXPECT_THAT(server.heads().at(0), HasSubstr("PUT /generate HTTP/1.1\r\n"));
  EXPECT_THAT(server.heads().at(0), HasSubstr("Authorization: Bearer octet-key\r\n"));
}

TEST(HttpClient, TellsErrorStatusesWithTheirText) {
  CannedServer server({response("429 Too Many Requests", R"({"error": {"message": "the queue is full"}})")});
  const std::vector<Answer> answers = ask(server, HttpApi::kOpenai, 1, kLong);
  ASSERT_TRUE(answers[0].failure.has_value());
  EXPECT_EQ(answers[0].failure->kind, "http 429");
  EXPECT_EQ(answers[0].failure->detail, "the queue is full");
}

TEST(HttpClient, CallsAStreamThatEndsEarlyMalformed) {
  CannedServer server({response("200 OK\r\nContent-Type: text/event-stream", "data: {\"choices\": []}\n\n")});
  const std::vector<Answer> answers = ask(server, HttpApi::kOpenai, 1, kLong);
  ASSERT_TRUE(answers[0].failure.has_value());
  EXPECT_EQ(answers[0].failure->detail, "the stream ended without [DONE]");
}

TEST(HttpClient, GivesUpAtTheTimeout) {
  CannedServer server({"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"});
  const std::vector<Answer> answers = ask(server, HttpApi::kNemo, 1, std::chrono::milliseconds(50));
  ASSERT_TRUE(answers[0].failure.has_value());
  EXPECT_EQ(answers[0].failure->kind, "timeout");
}

TEST(HttpClient, TellsWhenNobodyListens) {
  boost::asio::io_context loop;
  const UnansweredPort port;
  auto client = make_http_client(loop, {"127.0.0.1", port.text()}, HttpApi::kNemo, {});
  Prompt prompt;
  prompt.text = "Say hi.";
  std::optional<Answer> got;
  (*client)->send(prompt, kLong, [&](Answer answer) { got = std::move(answer); });
  loop.run();
  ASSERT_TRUE(got && got->failure);
  EXPECT_EQ(got->failure->kind, "connection");
}

TEST(Endpoint, IsHostAndPort) {
  EXPECT_EQ(parse_endpoint("localhost:80")->port, "80");
  EXPECT_EQ(parse_endpoint("[::1]:80")->host, "::1");
  for (const char* text :
       {"", "localhost", ":80", "localhost:", "localhost:0", "localhost:65536", "localhost:8o"}) {
    EXPECT_FALSE(parse_endpoint(text).ok()) << text;
  }
}

}  // namespace
}  // namespace octet::bench
