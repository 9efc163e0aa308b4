// gRPC's credentials of our TLS files.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "base/credentials.h"

namespace octet {

// Each handshake takes the newest contents. Peers need a certificate where the files have a CA. Null: no TLS.
std::shared_ptr<grpc::ServerCredentials> server_credentials(std::shared_ptr<TlsFiles> files);
// Of the files' contents now: a channel that is made later takes later ones. Null: no TLS.
std::shared_ptr<grpc::ChannelCredentials> channel_credentials(TlsFiles* files);

}  // namespace octet
