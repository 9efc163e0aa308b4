// What every gRPC server of Octet has: message limits, keepalive, grpc.health.v1 with the services "live",
// "ready" and "progress", and reflection.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/credentials.h"

namespace octet {

// The same code and text; an INVALID_ARGUMENT's field becomes google.rpc.BadRequest, a retry hint
// google.rpc.RetryInfo in grpc-status-details-bin.
grpc::Status to_grpc(const absl::Status& status);
absl::Status from_grpc(const grpc::Status& status);

// A listening server. The health services "" and "live" serve from the start; "ready" and "progress" do not
// until set. "live": the process gets on, or has not stood still for long; "progress": work in flight is not
// overdue; "ready": it takes work.
class GrpcServer {
 public:
  struct Options {
    std::string host = "0.0.0.0";
    int port = 0;  // 0: any free one
    int max_message_bytes = 64 << 20;
    int max_concurrent_streams = 4096;  // of one connection; a client's further calls wait
    std::shared_ptr<TlsFiles> tls;      // null: no TLS
  };
  // Errors: UNAVAILABLE naming the address when it cannot be bound.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> start(const Options& options,
                                                           const std::vector<grpc::Service*>& services);
  ~GrpcServer();

  int port() const { return port_; }
  void set_serving(const std::string& service, bool serving);
  // Refuses new calls, lets those in progress run until the timeout, then cancels them.
  void shutdown(std::chrono::milliseconds timeout);

 private:
  GrpcServer(std::shared_ptr<grpc::ServerCredentials> credentials, std::unique_ptr<grpc::Server> server,
             int port);
  const std::shared_ptr<grpc::ServerCredentials> credentials_;  // asked by the server at each handshake
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

// A channel between two processes of Octet: unlimited message size, keepalive of 10 s, no proxy. cluster: the
// files of the mutual TLS between them, as they are now; null: no TLS.
std::shared_ptr<grpc::Channel> internal_channel(const std::string& address, TlsFiles* cluster = nullptr);

}  // namespace octet
