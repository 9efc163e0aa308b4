#include "router/api/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/router/api/on_loop.h"
#include "tests/router/api/raw_client.h"

namespace octet::router {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr auto kPatience = 10s;

// A server on a thread of its own. Handlers: GET /echo answers path, query and body; PUT /echo the body; GET
// /late is answered by the test through take(); GET /throw throws; GET /drop lets go of its responder.
class HttpServerTest : public ::testing::Test {
 protected:
  void listen(HttpLimits limits = {}) {
    HttpServer::Routes routes;
    const auto echo = [](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
      responder->send(200, "text/plain", request.path + "?" + request.query + " " + request.body,
                      {{"X-Extra", "1"}});
    };
    routes["/echo"].methods = {{"GET", echo}, {"PUT", echo}};
    routes["/tree/*"].methods["GET"] = echo;
    routes["/late"].methods["GET"] = [this](const HttpRequest&, std::shared_ptr<HttpResponder> responder) {
      late_.set_value(std::move(responder));
    };
    routes["/throw"].methods["GET"] = [](const HttpRequest&, const std::shared_ptr<HttpResponder>&) {
      throw std::runtime_error("no \"quotes\"");
    };
    routes["/drop"].methods["GET"] = [](const HttpRequest&, const std::shared_ptr<HttpResponder>&) {};
    auto server = HttpServer::listen(loop_, "127.0.0.1", 0, std::move(routes), limits);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    thread_ = std::thread([this] { loop_.run(); });
  }

  void TearDown() override {
    if (thread_.joinable()) {
      run_on_loop(loop_, [this] { server_.reset(); });
      work_.reset();
      thread_.join();
    }
  }

  // The responder of the next GET /late; null when none comes.
  std::shared_ptr<HttpResponder> take() {
    auto future = late_.get_future();
    if (future.wait_for(kPatience) != std::future_status::ready) return nullptr;
    auto responder = future.get();
    late_ = {};
    return responder;
  }

  // A future that is ready once on_close has run.
  std::future<void> closed(HttpResponder& responder) {
    auto promise = std::make_shared<std::promise<void>>();
    run_on_loop(loop_, [&] { responder.on_close([promise] { promise->set_value(); }); });
    return promise->get_future();
  }

  int port() const { return server_->port(); }

  boost::asio::io_context loop_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{loop_.get_executor()};
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
  std::promise<std::shared_ptr<HttpResponder>> late_;
};

std::string get(const std::string& target, const std::string& fields = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n";
}

// A request's id is the client's or a new one, and every answer has it, refusals of the server too.
TEST_F(HttpServerTest, EveryAnswerHasARequestId) {
  listen();
  for (const char* target : {"/echo", "/nothing", "/throw", "/drop"}) {
    RawClient client(port());
    client.send(get(target, "X-Request-Id: mine\r\n"));
    EXPECT_TRUE(client.read_answer().has_header("x-request-id: mine")) << target;
    client.send(get(target));
    const std::string head = client.read_answer().head;
    EXPECT_THAT(head, HasSubstr("x-request-id: ")) << target;
    EXPECT_THAT(head, Not(HasSubstr("mine"))) << target;
  }
  RawClient broken(port());
  broken.send("GET /echo HTTP/1.1\r\nX-Request-Id: mine\r\n\r\n");  // without Host
  const RawAnswer answer = broken.read_answer();
  EXPECT_EQ(answer.status, 400);
  EXPECT_TRUE(answer.has_header("x-request-id: mine"));
}

TEST_F(HttpServerTest, RefusesARequestIdThatIsTooLongOrHasOtherCharacters) {
  listen();
  for (const std::string& id : {std::string(129, 'a'), std::string("a b"), std::string("a\"b")}) {
    RawClient client(port());
    client.send(get("/echo", "X-Request-Id: " + id + "\r\n"));
    const RawAnswer answer = client.read_answer();
    EXPECT_EQ(answer.status, 400);
    EXPECT_THAT(answer.body, HasSubstr("x-request-id: must"));
    EXPECT_THAT(answer.head, Not(HasSubstr(id)));
  }
}

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  listen();
  RawClient client(port());
  for (int i = 0; i < 3; ++i) {
    client.send(get("/echo?a=b"));
    const RawAnswer answer = client.read_answer();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "/echo?a=b ");
    EXPECT_TRUE(answer.has_header("Content-Type: text/plain"));
    EXPECT_TRUE(answer.has_header("X-Extra: 1"));
    EXPECT_THAT(answer.head, HasSubstr("x-request-id: "));
    EXPECT_FALSE(answer.has_header("Connection: close"));
  }
}

TEST_F(HttpServerTest, ClosesWhenAskedTo) {
  listen();
  RawClient client(port());
  client.send(get("/echo", "Connection: close\r\n"));
  EXPECT_TRUE(client.read_answer().has_header("Connection: close"));
  EXPECT_TRUE(client.is_closed());
}

TEST_F(HttpServerTest, SpeaksHttp10) {
  listen();
  RawClient client(port());
  client.send("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const RawAnswer kept = client.read_answer();
  EXPECT_TRUE(kept.has_header("Connection: keep-alive"));
  client.send("GET /echo HTTP/1.0\r\n\r\n");
  EXPECT_EQ(client.read_answer().body, "/echo? ");
  EXPECT_TRUE(client.is_closed());
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  listen();
  RawClient client(port());
  constexpr int kNumRequests = 1000;
  std::string requests;
  for (int i = 0; i < kNumRequests; ++i) requests += get("/echo?" + std::to_string(i));
  client.send(requests);
  for (int i = 0; i < kNumRequests; ++i)
    ASSERT_EQ(client.read_answer().body, "/echo?" + std::to_string(i) + " ");
}

TEST_F(HttpServerTest, AnswersAClientThatHasSentMuchMoreMeanwhile) {
  listen();
  RawClient client(port());
  constexpr int kNumRequests = 4000;  // more than the server reads ahead
  std::string requests = get("/late");
  for (int i = 0; i < kNumRequests; ++i) requests += get("/echo");
  client.send(requests);
  const auto responder = take();
  ASSERT_NE(responder, nullptr);
  run_on_loop(loop_, [&] { responder->send(200, "text/plain", "late"); });
  EXPECT_EQ(client.read_answer().body, "late");
  for (int i = 0; i < kNumRequests; ++i) ASSERT_EQ(client.read_answer().body, "/echo? ");
}

// The second waits for the first, however fast it could be answered.
TEST_F(HttpServerTest, AnswersOneRequestAtATime) {
  listen();
  RawClient client(port());
  client.send(get("/late") + get("/echo"));
  const auto responder = take();
  ASSERT_NE(responder, nullptr);
  run_on_loop(loop_, [&] { responder->send(200, "text/plain", "late"); });
  EXPECT_EQ(client.read_answer().body, "late");
  EXPECT_EQ(client.read_answer().body, "/echo? ");
}

TEST_F(HttpServerTest, ReadsBodiesInBothForms) {
  listen();
  RawClient client(port());
  client.send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_EQ(client.read_answer().body, "/echo? abc");
  client.send(
      "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
  EXPECT_EQ(client.read_answer().body, "/echo? abc");
}

TEST_F(HttpServerTest, ContinuesWhenTheClientWaits) {
  listen();
  RawClient client(port());
  client.send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_answer().status, 100);
  client.send("abc");
  EXPECT_EQ(client.read_answer().body, "/echo? abc");
  // An answer that does not depend on the body comes instead of it.
  client.send("PUT /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_answer().status, 404);
  EXPECT_TRUE(client.is_closed());
}

TEST_F(HttpServerTest, KnowsPathsAndMethods) {
  listen();
  RawClient client(port());
  const std::vector<std::pair<std::string, int>> cases = {
      {"GET /echo", 200},     {"GET /echo/", 404},  {"GET //echo", 404},   {"GET /ECHO", 404},
      {"GET /", 404},         {"GET /%65cho", 404}, {"GET /echo%00", 404}, {"GET /x/../echo", 404},
      {"GET *", 404},         {"PUT /", 404},       {"DELETE /echo", 405}, {"GET /tree/a", 200},
      {"GET /tree/a/b", 200}, {"GET /tree/", 404},  {"GET /tree", 404},    {"BREW /echo", 405},
      {"PUT /tree/a", 405},
  };
  for (const auto& [line, status] : cases) {
    client.send(line + " HTTP/1.1\r\nHost: h\r\n\r\n");
    const RawAnswer answer = client.read_answer();
    EXPECT_EQ(answer.status, status) << line;
    if (status != 200) {
      EXPECT_THAT(answer.body, StartsWith(R"({"error":{"message":")")) << line;
    }
    if (status == 405 && line != "PUT /tree/a") {
      EXPECT_TRUE(answer.has_header("Allow: GET, PUT, HEAD, OPTIONS"));
    }
  }
}

TEST_F(HttpServerTest, AnswersHeadWithoutTheBody) {
  listen();
  RawClient client(port());
  client.send("HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\nHEAD /nothing HTTP/1.1\r\nHost: h\r\n\r\n" +
              get("/echo"));
  const RawAnswer head = client.read_answer(/*to_head=*/true);
  EXPECT_EQ(head.status, 200);
  EXPECT_TRUE(head.has_header("Content-Length: 7"));
  EXPECT_EQ(client.read_answer(/*to_head=*/true).status, 404);
  EXPECT_EQ(client.read_answer().body, "/echo? ");
}

TEST_F(HttpServerTest, TellsTheMethodsOfAPath) {
  listen();
  RawClient client(port());
  client.send("OPTIONS /echo HTTP/1.1\r\nHost: h\r\n\r\n");
  const RawAnswer answer = client.read_answer();
  EXPECT_EQ(answer.status, 204);
  EXPECT_TRUE(answer.has_header("Allow: GET, PUT, HEAD, OPTIONS"));
}

TEST_F(HttpServerTest, RefusesBrokenRequestsAndCloses) {
  listen();
  for (const auto& [bytes, status] : std::vector<std::pair<std::string, int>>{
           {"nonsense\r\n\r\n", 400},
           {"GET /echo HTTP/1.1\r\n\r\n", 400},
           {"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
           {"GET /echo HTTP/3.0\r\n\r\n", 505},
           {"PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501}}) {
    RawClient client(port());
    client.send(bytes);
    const RawAnswer answer = client.read_answer();
    EXPECT_EQ(answer.status, status) << bytes;
    EXPECT_TRUE(answer.has_header("Connection: close"));
    EXPECT_TRUE(client.is_closed());
  }
}

TEST_F(HttpServerTest, RefusesHeadersOverTheLimit) {
  listen();
  RawClient client(port());
  client.send("GET /echo HTTP/1.1\r\nHost: h\r\nA: " + std::string(1 << 20, 'a'));
  EXPECT_EQ(client.read_answer().status, 431);
  EXPECT_TRUE(client.is_closed());
}

// The client is still sending when it is refused; the answer must reach it all the same.
TEST_F(HttpServerTest, RefusesBodiesOverTheLimitWhileTheyAreSent) {
  listen({.max_body_bytes = 1000});
  const std::string body(1 << 20, 'a');
  RawClient with_length(port());
  with_length.send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) +
                   "\r\n\r\n");
  with_length.send(body);
  EXPECT_EQ(with_length.read_answer().status, 413);
  RawClient with_chunks(port());
  with_chunks.send("PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 1024; ++i) with_chunks.send("400\r\n" + std::string(1024, 'a') + "\r\n");
  EXPECT_EQ(with_chunks.read_answer().status, 413);
}

std::string put_head(size_t num_body_bytes) {
  return "PUT /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: " +
         std::to_string(num_body_bytes) + "\r\n\r\n";
}

TEST_F(HttpServerTest, RefusesBodiesThatAreTooManyTogether) {
  listen({.max_unread_body_bytes = 1000});
  RawClient first(port());
  first.send(put_head(3000));
  EXPECT_EQ(first.read_answer().status, 100);
  first.send(std::string(2000, 'a'));
  const RawAnswer answer = first.read_answer();
  EXPECT_EQ(answer.status, 503);
  EXPECT_TRUE(answer.has_header("Retry-After: 1"));
  // What the refused body took is free again, although its client has not gone; so is what an answered one
  // took.
  RawClient second(port());
  for (int i = 0; i < 3; ++i) {
    second.send(put_head(900));
    EXPECT_EQ(second.read_answer().status, 100);
    second.send(std::string(800, 'a'));
    second.send(std::string(100, 'a'));
    EXPECT_EQ(second.read_answer().status, 200);
  }
}

TEST_F(HttpServerTest, TimesOutSlowHeaders) {
  listen({.header_timeout = 20ms});
  RawClient client(port());
  client.send("GET /echo HT");
  EXPECT_EQ(client.read_answer().status, 408);
  EXPECT_TRUE(client.is_closed());
}

// Empty lines before a request are ignored, and are no sign of life.
TEST_F(HttpServerTest, TimesOutEmptyLines) {
  listen({.header_timeout = 50ms});
  RawClient client(port());
  const auto end = std::chrono::steady_clock::now() + kPatience;
  bool open = true;
  while (open && std::chrono::steady_clock::now() < end) open = client.send("\r\n");
  EXPECT_FALSE(open);
}

TEST_F(HttpServerTest, TimesOutSlowBodies) {
  listen({.body_timeout = 20ms});
  RawClient client(port());
  client.send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na");
  EXPECT_EQ(client.read_answer().status, 408);
  EXPECT_TRUE(client.is_closed());
}

TEST_F(HttpServerTest, ClosesIdleConnectionsWithoutAWord) {
  listen({.header_timeout = 20ms, .idle_timeout = 20ms});
  RawClient silent(port());
  EXPECT_TRUE(silent.is_closed());
  RawClient idle(port());
  idle.send(get("/echo"));
  EXPECT_EQ(idle.read_answer().status, 200);
  EXPECT_TRUE(idle.is_closed());
}

TEST_F(HttpServerTest, RefusesConnectionsOverTheLimit) {
  listen({.max_connections = 1});
  RawClient first(port());
  first.send(get("/echo"));
  EXPECT_EQ(first.read_answer().status, 200);
  RawClient second(port());
  const RawAnswer refused = second.read_answer();
  EXPECT_EQ(refused.status, 503);
  EXPECT_TRUE(refused.has_header("Retry-After: 1"));
  EXPECT_TRUE(second.is_closed());
  first.send(get("/echo"));
  EXPECT_EQ(first.read_answer().status, 200);
}

TEST_F(HttpServerTest, GoesOnAfterAHandlerThrows) {
  listen();
  RawClient client(port());
  client.send(get("/throw"));
  const RawAnswer answer = client.read_answer();
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.body.find("quotes"), std::string::npos);  // what it said is for the log
  client.send(get("/drop"));
  EXPECT_EQ(client.read_answer().status, 500);
  client.send(get("/echo"));
  EXPECT_EQ(client.read_answer().status, 200);
}

TEST_F(HttpServerTest, StreamsInChunks) {
  listen();
  RawClient client(port());
  client.send(get("/late"));
  const auto responder = take();
  ASSERT_NE(responder, nullptr);
  run_on_loop(loop_, [&] {
    responder->start_stream(200, "text/event-stream", {{"X-Id", "7"}});
    responder->write("data: 1\n\n");
  });
  EXPECT_THAT(client.read_until("data: 1\n\n"),
              HasSubstr("Transfer-Encoding: chunked\r\n"));  // at once, not at the end
  run_on_loop(loop_, [&] {
    responder->write("");  // no chunk: an empty one would end the stream
    responder->write("data: 2\n\n");
    responder->end_stream();
  });
  EXPECT_EQ(client.read_until("0\r\n\r\n"), "\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n");
  client.send(get("/echo"));
  EXPECT_EQ(client.read_answer().status, 200);
}

TEST_F(HttpServerTest, StreamsToHttp10UpToTheConnectionsEnd) {
  listen();
  RawClient client(port());
  client.send("GET /late HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const auto responder = take();
  ASSERT_NE(responder, nullptr);
  run_on_loop(loop_, [&] {
    responder->start_stream(200, "text/event-stream");
    responder->write("one ");
  });
  EXPECT_THAT(client.read_until("one "), HasSubstr("Connection: close\r\n"));
  run_on_loop(loop_, [&] {
    responder->write("two");
    responder->end_stream();
  });
  EXPECT_EQ(client.read_to_end(), "two");
}

TEST_F(HttpServerTest, KeepsLineBreaksOutOfHeaders) {
  listen();
  RawClient client(port());
  client.send(get("/late"));
  const auto responder = take();
  ASSERT_NE(responder, nullptr);
  run_on_loop(loop_, [&] { responder->send(200, "text/plain", "", {{"X-Id", "a\r\nSet-Cookie: b"}}); });
  EXPECT_TRUE(client.read_answer().has_header("X-Id: aSet-Cookie: b"));
}

TEST_F(HttpServerTest, NoticesThatTheClientWentAway) {
  listen();
  for (const bool by_reset : {false, true}) {
    auto client = std::make_unique<RawClient>(port());
    client->send(get("/late"));
    const auto responder = take();
    ASSERT_NE(responder, nullptr);
    auto gone = closed(*responder);
    by_reset ? client->reset() : client.reset();
    EXPECT_EQ(gone.wait_for(kPatience), std::future_status::ready);
    // The responder outlives its connection; what it says goes nowhere.
    run_on_loop(loop_, [&] { responder->send(200, "text/plain", "too late"); });
    EXPECT_EQ(closed(*responder).wait_for(kPatience), std::future_status::ready);
  }
}

TEST_F(HttpServerTest, NoticesThatTheClientWentAwayDuringAStream) {
  listen();
  auto client = std::make_unique<RawClient>(port());
  client->send(get("/late"));
  const auto responder = take();
  ASSERT_NE(responder, nullptr);
  auto gone = closed(*responder);
  run_on_loop(loop_, [&] {
    responder->start_stream(200, "text/event-stream");
    responder->write("x");
  });
  client->read_until("x");
  client.reset();
  EXPECT_EQ(gone.wait_for(kPatience), std::future_status::ready);
  run_on_loop(loop_, [&] {
    responder->write("y");
    responder->end_stream();
  });
}

// A client that half-closes after a request that is answered at once gets its answer.
TEST_F(HttpServerTest, AnswersAHalfClosedClientAtOnce) {
  listen();
  RawClient client(port());
  client.send(get("/echo") + get("/echo"));
  client.close_sending_half();
  EXPECT_EQ(client.read_answer().status, 200);
  EXPECT_EQ(client.read_answer().status, 200);
  EXPECT_TRUE(client.is_closed());
}

TEST_F(HttpServerTest, DoesNotReportACloseAfterTheAnswer) {
  listen();
  RawClient client(port());
  client.send(get("/late"));
  const auto responder = take();
  ASSERT_NE(responder, nullptr);
  auto gone = closed(*responder);
  run_on_loop(loop_, [&] { responder->send(200, "text/plain", "x"); });
  EXPECT_EQ(client.read_answer().body, "x");
  client.reset();
  // The callback was given up with the answer, and its promise with it.
  EXPECT_THROW(gone.get(), std::future_error);
}

TEST_F(HttpServerTest, DropsAReaderThatIsTooSlow) {
  listen({.max_queued_bytes = 1 << 20});
  RawClient client(port(), /*receive_buffer_bytes=*/4096);
  client.send(get("/late"));
  const auto responder = take();
  ASSERT_NE(responder, nullptr);
  auto gone = closed(*responder);
  run_on_loop(loop_, [&] { responder->start_stream(200, "text/event-stream"); });
  const std::string part(1 << 16, 'x');
  // More than the queue and every socket buffer hold.
  for (int i = 0; i < 1000 && gone.wait_for(0s) != std::future_status::ready; ++i) {
    run_on_loop(loop_, [&] { responder->write(part); });
  }
  EXPECT_EQ(gone.wait_for(kPatience), std::future_status::ready);
}

TEST_F(HttpServerTest, DropsAReaderThatStops) {
  listen({.write_timeout = 50ms});
  RawClient client(port(), /*receive_buffer_bytes=*/4096);
  client.send(get("/late"));
  const auto responder = take();
  ASSERT_NE(responder, nullptr);
  auto gone = closed(*responder);
  run_on_loop(loop_, [&] {
    responder->start_stream(200, "text/event-stream");
    responder->write(std::string(7 << 20, 'x'));
  });
  EXPECT_EQ(gone.wait_for(kPatience), std::future_status::ready);
}

TEST_F(HttpServerTest, SendsLargeAnswersWhole) {
  listen();
  RawClient client(port());
  client.send(get("/late"));
  const auto responder = take();
  ASSERT_NE(responder, nullptr);
  const std::string body(20 << 20, 'x');  // more than a stream may queue
  run_on_loop(loop_, [&] { responder->send(200, "text/plain", body); });
  EXPECT_EQ(client.read_answer().body.size(), body.size());
}

TEST_F(HttpServerTest, StopsAcceptingAndFinishesWhatItHas) {
  listen();
  RawClient idle(port());
  idle.send(get("/echo"));
  EXPECT_EQ(idle.read_answer().status, 200);
  RawClient busy(port());
  busy.send(get("/late"));
  const auto responder = take();
  ASSERT_NE(responder, nullptr);
  run_on_loop(loop_, [&] { server_->stop_accepting(); });
  EXPECT_TRUE(idle.is_closed());
  run_on_loop(loop_, [&] { responder->send(200, "text/plain", "last"); });
  EXPECT_EQ(busy.read_answer().body, "last");
  EXPECT_TRUE(busy.is_closed());
}

TEST_F(HttpServerTest, TellsResponderWhenTheServerGoes) {
  listen();
  RawClient client(port());
  client.send(get("/late"));
  const auto responder = take();
  ASSERT_NE(responder, nullptr);
  auto gone = closed(*responder);
  run_on_loop(loop_, [&] { server_.reset(); });
  EXPECT_EQ(gone.wait_for(kPatience), std::future_status::ready);
  run_on_loop(loop_, [&] { responder->send(200, "text/plain", "x"); });
}

TEST_F(HttpServerTest, NamesTheAddressThatItCannotBind) {
  listen();
  const auto second = HttpServer::listen(loop_, "127.0.0.1", port(), {}, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("127.0.0.1:" + std::to_string(port())));
  EXPECT_FALSE(HttpServer::listen(loop_, "256.0.0.1", 0, {}, {}).ok());
}

}  // namespace
}  // namespace octet::router
