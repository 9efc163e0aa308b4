#include "base/metrics_endpoint.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <prometheus/counter.h>

#include <array>
#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/progress.h"
#include "tests/testing/certificates.h"

namespace octet {
namespace {

namespace asio = boost::asio;
using Tcp = asio::ip::tcp;

class MetricsEndpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    registry_ = std::make_shared<prometheus::Registry>();
    prometheus::BuildCounter()
        .Name("octet_test_total")
        .Help("A test.")
        .Register(*registry_)
        .Add({})
        .Increment(42);
    auto endpoint = MetricsEndpoint::listen(
        "127.0.0.1", 0, registry_, [this] { return ready_.load(); }, [this] { return live_.load(); });
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    endpoint_ = *std::move(endpoint);
  }

  Tcp::socket connect() {
    Tcp::socket socket(loop_);
    socket.connect({asio::ip::make_address("127.0.0.1"), static_cast<uint16_t>(endpoint_->port())});
    return socket;
  }

  // Sends the bytes and reads until the endpoint closes, which it does within its connection timeout.
  std::string exchange(const std::string& request) {
    Tcp::socket socket = connect();
    boost::system::error_code error;
    asio::write(socket, asio::buffer(request), error);
    std::string answer;
    asio::read(socket, asio::dynamic_buffer(answer), error);
    return answer;
  }

  std::string get(const std::string& target) {
    return exchange("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }

  std::atomic<bool> ready_{false};
  std::atomic<bool> live_{true};
  std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<MetricsEndpoint> endpoint_;
  asio::io_context loop_;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(MetricsEndpointTest, IsNotLiveWhenTheProcessSaysSo) {
  EXPECT_TRUE(get("/live").starts_with("HTTP/1.1 200"));
  live_ = false;
  EXPECT_TRUE(get("/live").starts_with("HTTP/1.1 503"));
}

TEST(ProgressTest, TellsNewsOnceAndGivesUpAfterAMinute) {
  const Time start(std::chrono::hours(1));
  Progress progress;
  EXPECT_FALSE(progress.set(true, start));
  EXPECT_TRUE(progress.live(start + std::chrono::hours(1)));
  EXPECT_TRUE(progress.set(false, start));
  EXPECT_FALSE(progress.set(false, start + std::chrono::seconds(59)));
  EXPECT_FALSE(progress.progressing());
  EXPECT_TRUE(progress.live(start + std::chrono::seconds(59)));
  EXPECT_FALSE(progress.live(start + std::chrono::seconds(60)));
  EXPECT_TRUE(progress.set(true, start + std::chrono::seconds(61)));
  EXPECT_TRUE(progress.live(start + std::chrono::seconds(61)));
}

TEST_F(MetricsEndpointTest, ServesThePrometheusTextFormat) {
  const std::string answer = get("/metrics");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
  EXPECT_TRUE(has(answer, "Content-Type: text/plain; version=0.0.4"));
  EXPECT_TRUE(has(answer, "# HELP octet_test_total A test."));
  EXPECT_TRUE(has(answer, "octet_test_total 42"));
}

TEST_F(MetricsEndpointTest, IsLiveAtOnceAndReadyWhenToldSo) {
  EXPECT_TRUE(get("/live").starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(get("/ready").starts_with("HTTP/1.1 503"));
  EXPECT_TRUE(get("/health").starts_with("HTTP/1.1 503"));
  ready_ = true;
  EXPECT_TRUE(get("/ready").starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(get("/health?x=1").starts_with("HTTP/1.1 200"));
}

TEST_F(MetricsEndpointTest, RefusesOtherTargetsAndMethods) {
  EXPECT_TRUE(get("/admin").starts_with("HTTP/1.1 404"));
  EXPECT_TRUE(
      exchange("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").starts_with("HTTP/1.1 405"));
  const std::string head = exchange("HEAD /live HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
}

TEST_F(MetricsEndpointTest, RefusesALongHeader) {
  EXPECT_TRUE(exchange("GET /live HTTP/1.1\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n")
                  .starts_with("HTTP/1.1 431"));
}

TEST_F(MetricsEndpointTest, ClosesWhatIsNotHttp) {
  EXPECT_EQ(exchange(std::string("\x16\x03\x01\x00\xff garbage\r\n\r\n", 17)), "");
  EXPECT_TRUE(get("/live").starts_with("HTTP/1.1 200"));
}

TEST_F(MetricsEndpointTest, AnswersWhileOtherConnectionsSayNothing) {
  std::vector<Tcp::socket> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(connect());
  EXPECT_TRUE(get("/live").starts_with("HTTP/1.1 200"));
}

TEST_F(MetricsEndpointTest, AnswersAgainAfterMoreConnectionsThanItHolds) {
  std::vector<Tcp::socket> silent;
  for (int i = 0; i < 50; ++i) silent.push_back(connect());
  silent.clear();
  EXPECT_TRUE(get("/live").starts_with("HTTP/1.1 200"));
}

TEST_F(MetricsEndpointTest, EndsWithConnectionsOpen) {
  std::vector<Tcp::socket> open;
  for (int i = 0; i < 40; ++i) open.push_back(connect());
  endpoint_.reset();
}

class MetricsEndpointTlsTest : public MetricsEndpointTest {
 protected:
  void open(bool needs_client_certificate) {
    folder_.write_all(testing::make_certificate(authority_, {.name = "first"}), &authority_);
    auto files = TlsFiles::open(folder_.paths(metrics_tls_paths(), needs_client_certificate),
                                TlsFiles::Use::kPublic, Duration::zero());
    ASSERT_TRUE(files.ok()) << files.status();
    auto endpoint = MetricsEndpoint::listen(
        "127.0.0.1", 0, registry_, [] { return true; }, [] { return true; }, *std::move(files));
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    endpoint_ = *std::move(endpoint);
  }

  // The answer, and the common name of the endpoint's certificate; both empty when TLS fails.
  std::pair<std::string, std::string> get_by_tls(const testing::Certified* own = nullptr) {
    asio::ssl::context context(asio::ssl::context::tls_client);
    if (own != nullptr) {
      context.use_certificate_chain(asio::buffer(own->certificate));
      context.use_private_key(asio::buffer(own->key), asio::ssl::context::pem);
    }
    asio::ssl::stream<Tcp::socket> stream(connect(), context);
    boost::system::error_code error;
    stream.handshake(asio::ssl::stream_base::client, error);
    if (error) return {};
    asio::write(stream, asio::buffer(std::string("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")), error);
    std::string answer;
    asio::read(stream, asio::dynamic_buffer(answer), error);
    if (answer.empty()) return {};
    EXPECT_EQ(error, asio::error::eof) << "the end is told, not cut";
    std::array<char, 64> name{};
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        SSL_get1_peer_certificate(stream.native_handle()), X509_free);
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, name.data(),
                              name.size());
    return {answer, name.data()};
  }

  testing::CertificateFolder folder_;
  const testing::Certified authority_ = testing::make_authority();
};

TEST_F(MetricsEndpointTlsTest, ServesByTlsOnlyAndTakesACertificateThatReplacesItsOwn) {
  ASSERT_NO_FATAL_FAILURE(open(/*needs_client_certificate=*/false));
  const auto [answer, name] = get_by_tls();
  EXPECT_TRUE(has(answer, "octet_test_total 42")) << answer;
  EXPECT_EQ(name, "first");
  EXPECT_FALSE(has(get("/metrics"), "octet_test_total")) << "plaintext";
  folder_.write_all(testing::make_certificate(authority_, {.name = "second"}), &authority_);
  EXPECT_EQ(get_by_tls().second, "second");
}

TEST_F(MetricsEndpointTlsTest, AsksForACertificateWhereAnAuthorityIsGiven) {
  ASSERT_NO_FATAL_FAILURE(open(/*needs_client_certificate=*/true));
  EXPECT_EQ(get_by_tls().first, "");
  const testing::Certified stranger = testing::make_certificate(testing::make_authority("other"));
  EXPECT_EQ(get_by_tls(&stranger).first, "");
  const testing::Certified own = testing::make_certificate(authority_);
  EXPECT_TRUE(has(get_by_tls(&own).first, "octet_test_total 42"));
}

TEST_F(MetricsEndpointTlsTest, ServesWhileClientsDoNotShakeHands) {
  ASSERT_NO_FATAL_FAILURE(open(/*needs_client_certificate=*/false));
  std::vector<Tcp::socket> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(connect());
  EXPECT_TRUE(has(get_by_tls().first, "octet_test_total 42"));
}

TEST_F(MetricsEndpointTest, ATakenPortIsAnErrorThatNamesIt) {
  const auto second = MetricsEndpoint::listen("127.0.0.1", endpoint_->port(), registry_, [] { return true; });
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  const std::string text(second.status().message());
  EXPECT_TRUE(has(text, "127.0.0.1:" + std::to_string(endpoint_->port()))) << text;
  EXPECT_TRUE(has(text, "in use")) << text;
}

}  // namespace
}  // namespace octet
