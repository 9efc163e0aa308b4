#include "router/api/tls_session.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "tests/testing/certificates.h"

namespace octet {
namespace {

using testing::CertificateFolder;
using testing::CertificateRequest;
using testing::Certified;
using testing::make_authority;
using testing::make_certificate;

std::string drain(BIO* bio) {
  std::string out(static_cast<size_t>(BIO_pending(bio)), '\0');
  if (!out.empty()) BIO_read(bio, out.data(), static_cast<int>(out.size()));
  return out;
}

// OpenSSL's client over two strings.
class Client {
 public:
  Client(const Certified& authority, const TlsContents* own, int version = TLS1_3_VERSION)
      : context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
    SSL_CTX_set_security_level(context_.get(), 0);  // else OpenSSL itself refuses old protocols
    SSL_CTX_set_min_proto_version(context_.get(), version);
    SSL_CTX_set_max_proto_version(context_.get(), version);
    const std::unique_ptr<BIO, decltype(&BIO_free)> pem(
        BIO_new_mem_buf(authority.certificate.data(), static_cast<int>(authority.certificate.size())),
        BIO_free);
    X509* ca = PEM_read_bio_X509(pem.get(), nullptr, nullptr, nullptr);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()), ca);
    X509_free(ca);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    if (own != nullptr) {
      SSL_CTX_use_certificate(context_.get(), SSL_CTX_get0_certificate(own->server.get()));
      SSL_CTX_use_PrivateKey(context_.get(), SSL_CTX_get0_privatekey(own->server.get()));
    }
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl_.get());
  }

  // Goes on with the handshake, or reads: what there is to send.
  std::string step(const std::string& from_server) {
    if (!from_server.empty())
      BIO_write(SSL_get_rbio(ssl_.get()), from_server.data(), static_cast<int>(from_server.size()));
    if (!SSL_is_init_finished(ssl_.get())) SSL_do_handshake(ssl_.get());
    char buffer[16384];
    int num_read = 0;
    while ((num_read = SSL_read(ssl_.get(), buffer, sizeof buffer)) > 0)
      read_.append(buffer, static_cast<size_t>(num_read));
    if (SSL_get_error(ssl_.get(), num_read) == SSL_ERROR_ZERO_RETURN) told_end_ = true;
    ERR_clear_error();
    return drain(SSL_get_wbio(ssl_.get()));
  }
  std::string write(const std::string& text) {
    SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size()));
    return drain(SSL_get_wbio(ssl_.get()));
  }
  std::string shut_down() {
    SSL_shutdown(ssl_.get());
    return drain(SSL_get_wbio(ssl_.get()));
  }
  const std::string& read() const { return read_; }
  bool told_end() const { return told_end_; }

 private:
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{nullptr, SSL_free};
  std::string read_;
  bool told_end_ = false;
};

class TlsSessionTest : public ::testing::Test {
 protected:
  std::shared_ptr<const TlsContents> contents(const Certified& certified, bool mutual) {
    const CertificateFolder folder;
    folder.write_all(certified, &authority_);
    return TlsFiles::open(folder.paths(public_tls_paths(), mutual), TlsFiles::Use::kPublic)
        .value()
        ->current();
  }

  // Exchanges bytes until both fall silent. Returns the session's first error.
  static absl::Status converse(Client& client, TlsSession& session, std::string& plaintext) {
    std::string to_session = client.step("");
    while (!to_session.empty()) {
      std::string to_client;
      if (absl::Status status = session.receive(to_session, plaintext, to_client); !status.ok())
        return status;
      to_session = client.step(to_client);
    }
    return absl::OkStatus();
  }

  const Certified authority_ = make_authority();
  const std::shared_ptr<const TlsContents> own_ = contents(make_certificate(authority_), false);
  std::string plaintext_;
};

TEST_F(TlsSessionTest, CarriesBytesBothWaysWithTls12And13) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Client client(authority_, nullptr, version);
    TlsSession session(own_);
    EXPECT_FALSE(session.established());
    plaintext_.clear();
    ASSERT_TRUE(converse(client, session, plaintext_).ok());
    EXPECT_TRUE(session.established());
    EXPECT_EQ(plaintext_, "");

    std::string output;
    const std::string question(100'000, 'q');
    ASSERT_TRUE(session.receive(client.write(question), plaintext_, output).ok());
    EXPECT_EQ(plaintext_, question);
    const std::string answer(1'000'000, 'a');
    ASSERT_TRUE(session.send(answer, output).ok());
    EXPECT_EQ(output.find("aaaaaaaa"), std::string::npos);
    client.step(output);
    EXPECT_EQ(client.read(), answer);
  }
}

TEST_F(TlsSessionTest, SendsNothingBeforeTheHandshakeIsOver) {
  TlsSession session(own_);
  std::string output;
  EXPECT_FALSE(session.send("answer", output).ok());
  session.close(output);
  EXPECT_EQ(output, "");
}

TEST_F(TlsSessionTest, TakesBytesOneByOne) {
  Client client(authority_, nullptr);
  TlsSession session(own_);
  std::string to_session = client.step("");
  while (!to_session.empty()) {
    std::string to_client;
    for (const char byte : to_session)
      ASSERT_TRUE(session.receive(std::string_view(&byte, 1), plaintext_, to_client).ok());
    to_session = client.step(to_client);
  }
  EXPECT_TRUE(session.established());
}

TEST_F(TlsSessionTest, TellsTheEndOfEitherSide) {
  Client client(authority_, nullptr);
  TlsSession session(own_);
  ASSERT_TRUE(converse(client, session, plaintext_).ok());
  std::string output;
  ASSERT_TRUE(session.receive(client.shut_down(), plaintext_, output).ok());
  EXPECT_TRUE(session.peer_closed());
  ASSERT_TRUE(session.send("answer", output).ok());
  session.close(output);
  client.step(output);
  EXPECT_EQ(client.read(), "answer");
  EXPECT_TRUE(client.told_end());
}

TEST_F(TlsSessionTest, RefusesPlaintextOldProtocolsAndNoise) {
  std::string output;
  EXPECT_FALSE(TlsSession(own_).receive("GET / HTTP/1.1\r\nHost: x\r\n\r\n", plaintext_, output).ok());
  EXPECT_FALSE(TlsSession(own_).receive(std::string(100'000, '\xff'), plaintext_, output).ok());
  for (const int version : {TLS1_VERSION, TLS1_1_VERSION}) {
    Client client(authority_, nullptr, version);
    TlsSession session(own_);
    EXPECT_FALSE(converse(client, session, plaintext_).ok()) << version;
  }
  EXPECT_EQ(plaintext_, "");
}

TEST_F(TlsSessionTest, RefusesARecordThatWasChanged) {
  Client client(authority_, nullptr);
  TlsSession session(own_);
  ASSERT_TRUE(converse(client, session, plaintext_).ok());
  std::string record = client.write("question");
  record.back() ^= 1;
  std::string output;
  EXPECT_FALSE(session.receive(record, plaintext_, output).ok());
  EXPECT_EQ(plaintext_, "");
}

TEST_F(TlsSessionTest, MutualTlsNeedsACertificateOfTheAuthority) {
  const auto mutual = contents(make_certificate(authority_), true);
  const auto stranger = contents(make_certificate(make_authority("stranger")), false);
  CertificateRequest past;
  past.valid_for_s = 1800;
  const auto expired = contents(make_certificate(authority_, past), false);
  for (const auto& [certificate, taken] :
       {std::pair(own_.get(), true), {nullptr, false}, {stranger.get(), false}, {expired.get(), false}}) {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      Client client(authority_, certificate, version);
      TlsSession session(mutual);
      EXPECT_EQ(converse(client, session, plaintext_).ok(), taken);
      EXPECT_EQ(session.established(), taken);
    }
  }
}

}  // namespace
}  // namespace octet
