// The HTTP server behind TLS; what it does with requests is http_server_test's.
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <thread>

#include "router/api/http_server.h"
#include "tests/router/api/on_loop.h"
#include "tests/router/api/raw_client.h"
#include "tests/testing/certificates.h"

namespace octet::router {
namespace {

using octet::testing::CertificateFolder;
using octet::testing::CertificateRequest;
using octet::testing::Certified;
using octet::testing::make_authority;
using octet::testing::make_certificate;

constexpr size_t kLargeBytes = 6 << 20;

// A blocking client; own: its certificate, or null.
class TlsClient {
 public:
  TlsClient(int port, const TlsContents* own) : context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
    if (own != nullptr) {
      SSL_CTX_use_certificate(context_.get(), SSL_CTX_get0_certificate(own->server.get()));
      SSL_CTX_use_PrivateKey(context_.get(), SSL_CTX_get0_privatekey(own->server.get()));
    }
    bio_.reset(BIO_new_ssl_connect(context_.get()));
    BIO_get_ssl(bio_.get(), &ssl_);
    BIO_set_conn_hostname(bio_.get(), ("127.0.0.1:" + std::to_string(port)).c_str());
    connected_ = BIO_do_handshake(bio_.get()) == 1;
    ERR_clear_error();
  }

  bool connected() const { return connected_; }
  bool write(const std::string& text) {
    return BIO_write(bio_.get(), text.data(), static_cast<int>(text.size())) == static_cast<int>(text.size());
  }
  // Up to the text, or to the end.
  std::string read_until(const std::string& end) {
    std::string read;
    char byte = 0;
    while (!read.ends_with(end) && BIO_read(bio_.get(), &byte, 1) == 1) read += byte;
    return read;
  }
  std::string read(size_t num_bytes) {
    std::string read(num_bytes, '\0');
    size_t at = 0;
    int last = 1;
    while (at < num_bytes && last > 0) {
      last = BIO_read(bio_.get(), read.data() + at, static_cast<int>(num_bytes - at));
      if (last > 0) at += static_cast<size_t>(last);
    }
    read.resize(at);
    return read;
  }
  // The connection's end came as TLS's own word, not as a cut.
  bool told_end() {
    char byte = 0;
    return BIO_read(bio_.get(), &byte, 1) <= 0 && (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0;
  }
  std::string server_name() const {
    X509* certificate = SSL_get1_peer_certificate(ssl_);
    char name[64] = {};
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
    X509_free(certificate);
    return name;
  }

 private:
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::unique_ptr<BIO, decltype(&BIO_free_all)> bio_{nullptr, BIO_free_all};
  SSL* ssl_ = nullptr;
  bool connected_ = false;
};

class HttpTlsTest : public ::testing::Test {
 protected:
  void listen(bool mutual = false, HttpLimits limits = {}) {
    folder_.write_all(named("first"), &authority_);
    files_ = TlsFiles::open(folder_.paths(public_tls_paths(), mutual), TlsFiles::Use::kPublic,
                            /*look_period=*/Duration::zero())
                 .value();
    HttpServer::Routes routes;
    routes["/echo"].methods["PUT"] = [](const HttpRequest& request, const auto& responder) {
      responder->send(200, "text/plain", request.body);
    };
    routes["/stream"].methods["GET"] = [this](const HttpRequest&, const auto& responder) {
      responder->start_stream(200, "text/plain");
      responder->write("begun\n");
      stream_ = responder;
    };
    server_ = HttpServer::listen(loop_, "127.0.0.1", 0, std::move(routes), limits, files_).value();
    thread_ = std::thread([this] { loop_.run(); });
  }

  void TearDown() override {
    run_on_loop(loop_, [this] {
      stream_.reset();
      server_.reset();
    });
    work_.reset();
    thread_.join();
  }

  Certified named(const std::string& name) const {
    CertificateRequest request;
    request.name = name;
    return make_certificate(authority_, request);
  }

  static std::string put(const std::string& body) {
    return "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           body;
  }
  void expect_echo(TlsClient& client, const std::string& body) {
    ASSERT_TRUE(client.write(put(body)));
    EXPECT_EQ(client.read_until("\r\n\r\n").substr(0, 15), "HTTP/1.1 200 OK");
    EXPECT_EQ(client.read(body.size()), body);
  }

  const Certified authority_ = make_authority();
  const CertificateFolder folder_;
  std::shared_ptr<TlsFiles> files_;
  boost::asio::io_context loop_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{loop_.get_executor()};
  std::unique_ptr<HttpServer> server_;
  std::shared_ptr<HttpResponder> stream_;
  std::thread thread_;
};

TEST_F(HttpTlsTest, AnswersRequestsOfAnySizeOnOneConnection) {
  listen();
  TlsClient client(server_->port(), nullptr);
  ASSERT_TRUE(client.connected());
  expect_echo(client, "small");
  expect_echo(client, std::string(kLargeBytes, 'x'));
  expect_echo(client, "");
}

TEST_F(HttpTlsTest, TheLastAnswerEndsWithTlsOwnWord) {
  listen();
  TlsClient client(server_->port(), nullptr);
  client.write("GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  client.read_until("\r\n\r\n");
  client.read_until("}}");
  EXPECT_TRUE(client.told_end());
}

TEST_F(HttpTlsTest, PlaintextIsRefusedAndHarmsNobody) {
  listen();
  RawClient plain(server_->port());
  plain.send("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(plain.read_to_end().find("HTTP"), std::string::npos);
  TlsClient client(server_->port(), nullptr);
  expect_echo(client, "still here");
}

TEST_F(HttpTlsTest, AHandshakeHasADeadline) {
  HttpLimits limits;
  limits.header_timeout = std::chrono::milliseconds(100);
  listen(false, limits);
  RawClient silent(server_->port());
  RawClient slow(server_->port());
  slow.send("\x16\x03\x01");  // a handshake that never goes on
  EXPECT_TRUE(silent.is_closed());
  EXPECT_TRUE(slow.is_closed());
  TlsClient idle(server_->port(), nullptr);
  EXPECT_TRUE(idle.connected());
  EXPECT_EQ(idle.read_until("never"), "") << "a request must follow the handshake in time";
}

TEST_F(HttpTlsTest, MutualTlsRefusesAClientWithoutACertificate) {
  listen(/*mutual=*/true);
  const auto own = files_->current();
  TlsClient known(server_->port(), own.get());
  expect_echo(known, "known");
  TlsClient unknown(server_->port(), nullptr);  // TLS 1.3: the handshake ends before the server has looked
  unknown.write(put("unknown"));
  EXPECT_EQ(unknown.read_until("\r\n"), "");
}

TEST_F(HttpTlsTest, NewConnectionsGetTheNewCertificateWhileAStreamRuns) {
  listen();
  TlsClient streaming(server_->port(), nullptr);
  EXPECT_EQ(streaming.server_name(), "first");
  streaming.write("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_NE(streaming.read_until("begun\n").find("begun"), std::string::npos);

  folder_.write_all(named("second"), &authority_);
  TlsClient fresh(server_->port(), nullptr);
  EXPECT_EQ(fresh.server_name(), "second");
  expect_echo(fresh, "fresh");

  run_on_loop(loop_, [this] {
    stream_->write("goes on\n");
    stream_->end_stream();
  });
  EXPECT_NE(streaming.read_until("0\r\n\r\n").find("goes on"), std::string::npos);
}

}  // namespace
}  // namespace octet::router
