#include "router/api/http_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

namespace octet::router {
namespace {

using namespace std::string_literals;
using State = HttpParser::State;
using ::testing::HasSubstr;

HttpLimits small_limits() {
  HttpLimits limits;
  limits.max_header_bytes = 1024;
  limits.max_body_bytes = 100;
  return limits;
}

std::string get(const std::string& fields = "") {
  return "GET /a?b=c HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n";
}

std::string put(const std::string& fields, const std::string& body) {
  return "PUT /a HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n" + body;
}

HttpFailure failure_of(const std::string& bytes) {
  HttpParser parser(small_limits());
  parser.append(bytes);
  if (parser.parse() != State::kFailed) return {.status = 0, .message = "not refused"};
  return parser.failure();
}

std::string body_of(const std::string& bytes) {
  HttpParser parser(small_limits());
  parser.append(bytes);
  return parser.parse() == State::kComplete ? parser.request().body : "(not complete)";
}

TEST(HttpParser, ReadsRequestLineAndFields) {
  HttpParser parser(small_limits());
  parser.append(get("X-Request-ID: 7\r\nEmpty:\r\n"));
  ASSERT_EQ(parser.parse(), State::kComplete);
  EXPECT_EQ(parser.request().method, "GET");
  EXPECT_EQ(parser.request().path, "/a");
  EXPECT_EQ(parser.request().query, "b=c");
  EXPECT_EQ(parser.request().header("x-request-id"), "7");
  EXPECT_EQ(parser.request().header("empty"), "");
  EXPECT_EQ(parser.request().header("absent"), "");
  EXPECT_TRUE(parser.keeps_alive());
  EXPECT_FALSE(parser.is_http_1_0());
}

TEST(HttpParser, KnowsWhichConnectionsStay) {
  const std::vector<std::pair<std::string, bool>> cases = {
      {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false},
      {"GET / HTTP/1.0\r\n\r\n", false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
  };
  for (const auto& [bytes, stays] : cases) {
    HttpParser parser(small_limits());
    parser.append(bytes);
    ASSERT_EQ(parser.parse(), State::kComplete) << bytes;
    EXPECT_EQ(parser.keeps_alive(), stays) << bytes;
  }
}

// However the bytes are cut, the request is the same.
TEST(HttpParser, TakesBytesOneByOne) {
  const std::string chunked =
      put("Transfer-Encoding: chunked\r\n", "3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nTrailer: t\r\n\r\n");
  for (const std::string& bytes : {get(), put("Content-Length: 4\r\n", "abcd"), chunked,
                                   put("Transfer-Encoding: chunked\r\n", "0\r\n\r\n")}) {
    HttpParser parser(small_limits());
    for (size_t i = 0; i < bytes.size(); ++i) {
      ASSERT_NE(parser.parse(), State::kComplete) << bytes.substr(0, i);
      ASSERT_NE(parser.parse(), State::kFailed) << bytes.substr(0, i);
      parser.append(bytes.substr(i, 1));
    }
    ASSERT_EQ(parser.parse(), State::kComplete) << bytes;
    EXPECT_EQ(parser.num_waiting_bytes(), 0U);
    EXPECT_EQ(parser.request().header("trailer"), "");
  }
}

TEST(HttpParser, LeavesTheNextRequestForLater) {
  HttpParser parser(small_limits());
  parser.append(put("Content-Length: 1\r\n", "x") + get());
  ASSERT_EQ(parser.parse(), State::kComplete);
  EXPECT_EQ(parser.request().body, "x");
  EXPECT_EQ(parser.num_waiting_bytes(), get().size());
  parser.next();
  ASSERT_EQ(parser.parse(), State::kComplete);
  EXPECT_EQ(parser.request().method, "GET");
  parser.next();
  EXPECT_EQ(parser.parse(), State::kNothing);
}

TEST(HttpParser, TellsHowFarItIs) {
  HttpParser parser(small_limits());
  EXPECT_EQ(parser.parse(), State::kNothing);
  parser.append("\r\n\r\n");  // empty lines before a request are no request
  EXPECT_EQ(parser.parse(), State::kNothing);
  parser.append("PUT /a HTTP/1.1\r\n");
  EXPECT_EQ(parser.parse(), State::kHeader);
  parser.append("Host: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(parser.parse(), State::kBody);
  EXPECT_TRUE(parser.expects_continue());
  EXPECT_EQ(parser.request().path, "/a");
  parser.append("x");
  EXPECT_EQ(parser.parse(), State::kBody);
  EXPECT_EQ(parser.num_body_bytes(), 1U);
}

TEST(HttpParser, JoinsChunks) {
  EXPECT_EQ(body_of(put("Transfer-Encoding: chunked\r\n", "1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n")),
            "a0123456789");
  EXPECT_EQ(body_of(put("transfer-encoding: Chunked\r\n", "00\r\n\r\n")), "");
}

TEST(HttpParser, RefusesWhatIsNotHttp) {
  const std::vector<std::pair<std::string, int>> cases = {
      {"hello\r\n\r\n", 400},
      {"GET /\r\n\r\n", 400},                     // HTTP/0.9
      {"GET  / HTTP/1.1\r\n\r\n", 400},           // two spaces
      {"GET / HTTP/1.1\nHost: h\n\n", 505},       // bare line feeds
      {"GET / HTTP/2.0\r\n\r\n", 505},            //
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},  // HTTP/2's preface
      {"GET /\0a HTTP/1.1\r\nHost: h\r\n\r\n"s, 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},                        // no host
      {"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", 400},  // two hosts
      {"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},     // a proxy's form
      {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},            // a space before the colon
      {"GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", 400},  // a bare carriage return
      {"GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", 400},      // no name
      {"GET / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n", 417},
  };
  for (const auto& [bytes, status] : cases) EXPECT_EQ(failure_of(bytes).status, status) << bytes;
}

TEST(HttpParser, RefusesAmbiguousLengths) {
  for (const char* fields :
       {"Content-Length: -1\r\n", "Content-Length: 1x\r\n", "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n", "Content-Length: 1, 2\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"}) {
    EXPECT_EQ(failure_of(put(fields, "")).status, 400) << fields;
  }
  for (const char* fields :
       {"Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n", "Transfer-Encoding: x\r\nContent-Length: 1\r\n"}) {
    EXPECT_EQ(failure_of(put(fields, "")).status, 501) << fields;
  }
  EXPECT_EQ(failure_of("PUT /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").status, 400);
  EXPECT_EQ(failure_of(put("Content-Encoding: gzip\r\nContent-Length: 1\r\n", "")).status, 415);
}

TEST(HttpParser, RefusesBrokenChunks) {
  for (const char* body :
       {"x\r\n\r\n", "\r\n\r\n\r\n", "-1\r\n\r\n", "1 \r\na\r\n0\r\n\r\n", "1\r\nabc\r\n0\r\n\r\n",
        "0\r\nbad trailer\r\n\r\n", "0\r\nContent-Length: 3\r\n\r\n"}) {
    EXPECT_EQ(failure_of(put("Transfer-Encoding: chunked\r\n", body)).status, 400) << body;
  }
  EXPECT_THAT(failure_of(put("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFFFF\r\n")).status,
              ::testing::AnyOf(400, 413));
}

TEST(HttpParser, RefusesHeadersOverTheLimit) {
  EXPECT_EQ(failure_of("GET /" + std::string(2000, 'a')).status,
            431);  // and does not wait for the line's end
  EXPECT_EQ(failure_of(get("A: " + std::string(2000, 'a') + "\r\n")).status, 431);
  EXPECT_THAT(failure_of(get("A: " + std::string(2000, 'a'))).message, HasSubstr("1024"));
  HttpParser parser(HttpLimits{});
  std::string fields;
  for (int i = 0; i < 300; ++i) fields += "a: b\r\n";
  parser.append(get(fields));
  ASSERT_EQ(parser.parse(), State::kFailed);
  EXPECT_EQ(parser.failure().status, 431);
  EXPECT_THAT(parser.failure().message, HasSubstr("256"));
}

TEST(HttpParser, RefusesBodiesOverTheLimit) {
  EXPECT_EQ(body_of(put("Content-Length: 100\r\n", std::string(100, 'a'))).size(), 100U);
  EXPECT_EQ(failure_of(put("Content-Length: 101\r\n", "")).status, 413);  // before a byte of it has come
  EXPECT_EQ(failure_of(put("Transfer-Encoding: chunked\r\n", "65\r\n")).status, 413);
  std::string chunks;
  for (int i = 0; i < 101; ++i) chunks += "1\r\na\r\n";
  EXPECT_EQ(failure_of(put("Transfer-Encoding: chunked\r\n", chunks)).status, 413);
  EXPECT_EQ(failure_of(put("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFF\r\n")).status, 413);
}

TEST(HttpParser, RefusesEndlessChunkHeaders) {
  HttpParser parser(HttpLimits{});
  parser.append(put("Transfer-Encoding: chunked\r\n", "1;" + std::string(10'000, 'a')));
  EXPECT_EQ(parser.parse(), State::kFailed);
  HttpParser trailer(HttpLimits{});
  trailer.append(put("Transfer-Encoding: chunked\r\n", "0\r\n"));
  std::string fields;
  for (int i = 0; i < 2000; ++i) fields += "a: b\r\n";
  trailer.append(fields);
  EXPECT_EQ(trailer.parse(), State::kFailed);
}

// A million chunks of one byte cost what a million bytes cost, and are bounded like these.
TEST(HttpParser, TakesAMillionTinyChunks) {
  HttpParser parser(HttpLimits{});
  parser.append(put("Transfer-Encoding: chunked\r\n", ""));
  std::string chunks;
  for (int i = 0; i < 1000; ++i) chunks += "1\r\na\r\n";
  for (int i = 0; i < 1000; ++i) {
    parser.append(chunks);
    ASSERT_EQ(parser.parse(), State::kBody);
    ASSERT_LT(parser.num_waiting_bytes(), 8U);
  }
  parser.append("0\r\n\r\n");
  ASSERT_EQ(parser.parse(), State::kComplete);
  EXPECT_EQ(parser.request().body.size(), 1'000'000U);
}

// Requests with bytes changed, dropped and doubled, in pieces of any size: refused or read, and never more
// kept than the limits allow.
TEST(HttpParser, SurvivesRandomChanges) {
  const std::vector<std::string> seeds = {
      get("Connection: keep-alive\r\n"), put("Content-Length: 4\r\n", "abcd"),
      put("Transfer-Encoding: chunked\r\n", "3;x=\"y\"\r\nabc\r\n1\r\nd\r\n0\r\nTrailer: t\r\n\r\n"),
      put("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", "0\r\n\r\n")};
  const std::string interesting = std::string("\r\n :;,0a\"\t\0\x7F\xFF", 13);
  std::mt19937 random(1);
  const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = seeds[below(seeds.size())] + seeds[below(seeds.size())];
    for (size_t changes = below(4); changes > 0; --changes) {
      const size_t at = below(bytes.size() - 1);
      switch (below(3)) {
        case 0:
          bytes[at] = interesting[below(interesting.size())];
          break;
        case 1:
          bytes.erase(at, 1 + below(3));
          break;
        default:
          bytes.insert(at, bytes.substr(at, below(8)));
      }
    }
    HttpParser parser(small_limits());
    for (size_t begin = 0; begin < bytes.size();) {
      const size_t size = 1 + below(below(2) == 0 ? 3 : bytes.size());
      parser.append(std::string_view(bytes).substr(begin, size));
      begin += size;
      const State state = parser.parse();
      if (state == State::kFailed) break;
      if (state == State::kComplete) parser.next();
      ASSERT_LE(parser.num_body_bytes(), 100U);
    }
  }
}

}  // namespace
}  // namespace octet::router
