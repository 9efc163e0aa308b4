#include "base/grpc_server_tls.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/grpc_server.h"
#include "octet/v1/pipeline.grpc.pb.h"
#include "tests/testing/certificates.h"

namespace octet {
namespace {

using testing::CertificateFolder;
using testing::CertificateRequest;
using testing::Certified;
using testing::make_authority;
using testing::make_certificate;

// One message a call, and a stream that stays open until the client leaves.
class Pipeline final : public v1::Pipeline::Service {
  grpc::Status Watch(grpc::ServerContext* context, const v1::WatchRequest*,
                     grpc::ServerWriter<v1::WatchResponse>* writer) override {
    writer->Write(v1::WatchResponse());
    while (!context->IsCancelled()) {
      if (!writer->Write(v1::WatchResponse())) break;
    }
    return grpc::Status::OK;
  }
};

class GrpcServerTlsTest : public ::testing::Test {
 protected:
  std::shared_ptr<TlsFiles> open(const CertificateFolder& folder, const Certified& certified,
                                 const Certified& authority) {
    folder.write_all(certified, &authority);
    auto files = TlsFiles::open(folder.paths(cluster_tls_paths(), true), TlsFiles::Use::kCluster,
                                /*look_period=*/Duration::zero());
    EXPECT_TRUE(files.ok()) << files.status();
    return *files;
  }

  void SetUp() override {
    GrpcServer::Options options;
    options.host = "127.0.0.1";
    options.tls = open(server_folder_, make_certificate(authority_), authority_);
    auto server = GrpcServer::start(options, {&service_});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    address_ = "127.0.0.1:" + std::to_string(server_->port());
  }

  // The code of a call that is opened, read once and cancelled: CANCELLED when the server took it.
  grpc::StatusCode watch(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    const auto stub = v1::Pipeline::NewStub(channel);
    const auto reader = stub->Watch(&context, v1::WatchRequest());
    v1::WatchResponse response;
    const bool read = reader->Read(&response);
    context.TryCancel();
    const grpc::StatusCode code = reader->Finish().error_code();
    EXPECT_EQ(read, code == grpc::StatusCode::CANCELLED);
    return code;
  }

  // The newest protocol that a client may offer; whether the server shakes hands with it.
  bool shakes_hands(int newest_version) {
    const auto contents = client_->current();
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                    SSL_CTX_free);
    SSL_CTX_set_security_level(context.get(), 0);  // else OpenSSL itself refuses the old protocols
    SSL_CTX_set_max_proto_version(context.get(), newest_version);
    SSL_CTX_set_min_proto_version(context.get(), newest_version);
    SSL_CTX_use_certificate(context.get(), SSL_CTX_get0_certificate(contents->server.get()));
    SSL_CTX_use_PrivateKey(context.get(), SSL_CTX_get0_privatekey(contents->server.get()));
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new_ssl_connect(context.get()), BIO_free_all);
    SSL* ssl = nullptr;
    BIO_get_ssl(bio.get(), &ssl);
    const unsigned char kH2[] = {2, 'h', '2'};
    SSL_set_alpn_protos(ssl, kH2, sizeof kH2);
    BIO_set_conn_hostname(bio.get(), address_.c_str());
    return BIO_do_handshake(bio.get()) == 1;
  }

  const Certified authority_ = make_authority();
  const CertificateFolder server_folder_;
  const CertificateFolder client_folder_;
  Pipeline service_;
  std::unique_ptr<GrpcServer> server_;
  std::string address_;
  std::shared_ptr<TlsFiles> client_ = open(client_folder_, make_certificate(authority_), authority_);
};

TEST_F(GrpcServerTlsTest, TakesAPeerOfTheCluster) {
  EXPECT_EQ(watch(internal_channel(address_, client_.get())), grpc::StatusCode::CANCELLED);
}

TEST_F(GrpcServerTlsTest, RefusesPlaintext) {
  EXPECT_EQ(watch(internal_channel(address_)), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(watch(internal_channel(address_, client_.get())), grpc::StatusCode::CANCELLED);
}

TEST_F(GrpcServerTlsTest, RefusesAPeerWithoutACertificate) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = authority_.certificate;
  EXPECT_EQ(watch(grpc::CreateChannel(address_, grpc::SslCredentials(options))),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcServerTlsTest, RefusesAPeerOfAnotherAuthority) {
  const CertificateFolder folder;
  const auto stranger = open(folder, make_certificate(make_authority("stranger")), authority_);
  EXPECT_EQ(watch(internal_channel(address_, stranger.get())), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcServerTlsTest, RefusesCertificatesThatAreNotValidNow) {
  CertificateRequest expired;
  expired.valid_for_s = 1800;
  CertificateRequest future;
  future.valid_from_s = 3600;
  for (const CertificateRequest& request : {expired, future}) {
    const CertificateFolder folder;
    const auto peer = open(folder, make_certificate(authority_, request), authority_);
    EXPECT_EQ(watch(internal_channel(address_, peer.get())), grpc::StatusCode::UNAVAILABLE);
  }
}

TEST_F(GrpcServerTlsTest, AClientRefusesAServerOfAnotherAuthorityOrName) {
  const CertificateFolder folder;
  const auto elsewhere = open(folder, make_certificate(authority_), make_authority("stranger"));
  EXPECT_EQ(watch(internal_channel(address_, elsewhere.get())), grpc::StatusCode::UNAVAILABLE);

  CertificateRequest other_name;
  other_name.dns_names = {"another-service"};
  const Certified renamed = make_certificate(authority_, other_name);
  server_folder_.write_all(renamed, &authority_);
  EXPECT_EQ(watch(internal_channel(address_, client_.get())), grpc::StatusCode::CANCELLED)
      << "files without the cluster's name are not taken";
}

TEST_F(GrpcServerTlsTest, WithoutAnAuthorityClientsNeedNoCertificate) {
  const CertificateFolder folder;
  folder.write_all(make_certificate(authority_), nullptr);
  GrpcServer::Options options;
  options.host = "127.0.0.1";
  options.tls = TlsFiles::open(folder.paths(public_tls_paths(), false), TlsFiles::Use::kPublic).value();
  Pipeline service;
  const auto server = GrpcServer::start(options, {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  grpc::SslCredentialsOptions client;
  client.pem_root_certs = authority_.certificate;
  const std::string address = "127.0.0.1:" + std::to_string((*server)->port());
  EXPECT_EQ(watch(grpc::CreateChannel(address, grpc::SslCredentials(client))), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(watch(internal_channel(address)), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcServerTlsTest, SpeaksTls12And13Only) {
  EXPECT_TRUE(shakes_hands(TLS1_3_VERSION));
  EXPECT_TRUE(shakes_hands(TLS1_2_VERSION));
  EXPECT_FALSE(shakes_hands(TLS1_1_VERSION));
  EXPECT_FALSE(shakes_hands(TLS1_VERSION));
}

TEST_F(GrpcServerTlsTest, NewConnectionsTakeNewFilesWhileAStreamRuns) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  const auto stub = v1::Pipeline::NewStub(internal_channel(address_, client_.get()));
  const auto stream = stub->Watch(&context, v1::WatchRequest());
  v1::WatchResponse response;
  ASSERT_TRUE(stream->Read(&response));

  const Certified next_authority = make_authority("next");
  const CertificateFolder folder;
  const auto next_peer = open(folder, make_certificate(next_authority), next_authority);
  EXPECT_EQ(watch(internal_channel(address_, next_peer.get())), grpc::StatusCode::UNAVAILABLE);
  server_folder_.write_all(make_certificate(next_authority), &next_authority);
  EXPECT_EQ(watch(internal_channel(address_, next_peer.get())), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(watch(internal_channel(address_, client_.get())), grpc::StatusCode::UNAVAILABLE);

  EXPECT_TRUE(stream->Read(&response));
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

}  // namespace
}  // namespace octet
