#include "base/grpc_server_tls.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <string>
#include <utility>

#include "base/check.h"

namespace octet {
namespace {

// gRPC's C++ API reads files itself, unchecked and in two steps; its C API asks us at each handshake.
class ReloadingCredentials final : public grpc::ServerCredentials {
 public:
  explicit ReloadingCredentials(std::shared_ptr<TlsFiles> files) : files_(std::move(files)) {
    const bool mutual = !files_->current()->ca.empty();
    credentials_ = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                   : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            &ReloadingCredentials::fetch, this));
  }
  ~ReloadingCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {
    OCTET_CHECK(false, "not used here");
  }

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  // One call at a time: gRPC holds the listener's mutex.
  static grpc_ssl_certificate_config_reload_status fetch(void* self,
                                                         grpc_ssl_server_certificate_config** config) {
    auto& credentials = *static_cast<ReloadingCredentials*>(self);
    auto contents = credentials.files_->current();
    if (contents == credentials.fetched_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair{contents->key.c_str(), contents->certificate.c_str()};
    // gRPC insists on authorities even where it asks clients for no certificate and so never looks at them.
    const std::string& authorities = contents->ca.empty() ? contents->certificate : contents->ca;
    *config = grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
    credentials.fetched_ = std::move(contents);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const std::shared_ptr<TlsFiles> files_;
  std::shared_ptr<const TlsContents> fetched_;
  grpc_server_credentials* credentials_ = nullptr;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> server_credentials(std::shared_ptr<TlsFiles> files) {
  if (files == nullptr) return grpc::InsecureServerCredentials();
  return std::make_shared<ReloadingCredentials>(std::move(files));
}

std::shared_ptr<grpc::ChannelCredentials> channel_credentials(TlsFiles* files) {
  if (files == nullptr) return grpc::InsecureChannelCredentials();
  const auto contents = files->current();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = contents->ca;
  options.pem_private_key = contents->key;
  options.pem_cert_chain = contents->certificate;
  return grpc::SslCredentials(options);
}

}  // namespace octet
