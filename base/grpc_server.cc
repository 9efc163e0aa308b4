#include "base/grpc_server.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/grpc_server_tls.h"
#include "base/log.h"
#include "base/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.pb.h"

namespace octet {
namespace {

constexpr int kKeepaliveMs = 10'000;
constexpr int kKeepaliveTimeoutMs = 5'000;
constexpr int kHandshakeTimeoutMs = 10'000;
constexpr int kInitialReconnectBackoffMs = 100;
constexpr int kConnectTimeoutMs = 2'000;  // gRPC calls it the minimum reconnect back-off
constexpr int kMaxReconnectBackoffMs = 1'000;

// gRPC's own log: what it calls an error is often an expected disconnect, and each of our callers reports its
// own. Only the words before it ends the process must be seen.
void log_grpc(gpr_log_func_args* entry) {
  const bool fatal = std::string_view(entry->message).starts_with("assertion failed");
  spdlog::log(fatal ? spdlog::level::critical : spdlog::level::debug, "grpc: {} ({}:{})",
              loggable(entry->message, 512), entry->file, entry->line);
}

void initialise_grpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    gpr_set_log_function(log_grpc);
    // Debian builds Abseil with its deadlock detector on: every lock of gRPC's would enter it in a graph of
    // all.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::health::v1::HealthCheckRequest::descriptor();  // links the descriptor in, so that reflection knows
                                                         // it
  });
}

std::string host_and_port(const std::string& host, int port) {
  return host.find(':') == std::string::npos ? absl::StrCat(host, ":", port)
                                             : absl::StrCat("[", host, "]:", port);
}

// gRPC says only that it could not listen; an attempt of our own says why.
std::string why_not_bound(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) return gai_strerror(error);
  std::string reason = "not possible";
  const int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
  if (fd >= 0) {
    const int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, found->ai_addr, found->ai_addrlen) != 0) reason = std::strerror(errno);
    close(fd);
  }
  freeaddrinfo(found);
  return reason;
}

void add_detail(google::rpc::Status* status, const google::protobuf::Message& detail) {
  status->add_details()->PackFrom(detail);
}

// Only details that we know; a peer may send any.
absl::Status with_details(absl::Status status, const google::rpc::Status& details) {
  for (const auto& any : details.details()) {
    google::rpc::BadRequest bad_request;
    google::rpc::RetryInfo retry;
    google::rpc::QuotaFailure quota;
    if (any.UnpackTo(&bad_request) && bad_request.field_violations_size() > 0) {
      status = with_field(std::move(status), bad_request.field_violations(0).field());
    } else if (any.UnpackTo(&quota) && quota.violations_size() > 0) {
      status = with_quota(std::move(status), quota.violations(0).subject());
    } else if (any.UnpackTo(&retry)) {
      constexpr int64_t kMaxSeconds = 24 * 3600;
      const int64_t whole = std::clamp<int64_t>(retry.retry_delay().seconds(), 0, kMaxSeconds);
      const int32_t rest = std::clamp(retry.retry_delay().nanos(), 0, 999'999'999);
      status =
          with_retry_after(std::move(status), std::chrono::seconds(whole) + std::chrono::nanoseconds(rest));
    }
  }
  return status;
}

}  // namespace

grpc::Status to_grpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.code());  // both are google.rpc.Code
  const std::string message(status.message());
  const std::optional<std::string> field = field_of(status);
  const std::optional<std::string> quota = quota_of(status);
  const std::optional<Duration> retry_after = retry_after_of(status);
  if (!field && !quota && !retry_after) return grpc::Status(code, message);

  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(message);
  if (field) {
    google::rpc::BadRequest bad_request;
    auto* violation = bad_request.add_field_violations();
    violation->set_field(*field);
    violation->set_description(message);
    add_detail(&details, bad_request);
  }
  if (quota) {
    google::rpc::QuotaFailure failure;
    auto* violation = failure.add_violations();
    violation->set_subject(*quota);
    violation->set_description(message);
    add_detail(&details, failure);
  }
  if (retry_after) {
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(*retry_after);
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(whole.count());
    retry.mutable_retry_delay()->set_nanos(
        static_cast<int32_t>(std::chrono::nanoseconds(*retry_after - whole).count()));
    add_detail(&details, retry);
  }
  return grpc::Status(code, message, details.SerializeAsString());
}

absl::Status from_grpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (status.error_details().empty() || !details.ParseFromString(status.error_details())) return result;
  return with_details(std::move(result), details);
}

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::start(const Options& options,
                                                              const std::vector<grpc::Service*>& services) {
  initialise_grpc();
  const std::string address = host_and_port(options.host, options.port);
  grpc::ServerBuilder builder;
  int port = 0;
  auto credentials = server_credentials(options.tls);
  builder.AddListeningPort(address, credentials, &port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(options.max_message_bytes);
  builder.SetMaxSendMessageSize(options.max_message_bytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a taken port is an error, not a second listener
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Pings are answered, as many as come: gRPC 1.51 takes 3 KB for each that it tells a client off for.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port <= 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, ": ", why_not_bound(options.host, options.port)));
  }
  auto result = std::unique_ptr<GrpcServer>(new GrpcServer(std::move(credentials), std::move(server), port));
  result->set_serving("live", true);
  result->set_serving("ready", false);
  result->set_serving("progress", false);
  return result;
}

GrpcServer::GrpcServer(std::shared_ptr<grpc::ServerCredentials> credentials,
                       std::unique_ptr<grpc::Server> server, int port)
    : credentials_(std::move(credentials)), server_(std::move(server)), port_(port) {}

GrpcServer::~GrpcServer() {
  shutdown(std::chrono::milliseconds(0));
}

void GrpcServer::set_serving(const std::string& service, bool serving) {
  grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
  if (health != nullptr) health->SetServingStatus(service, serving);
}

void GrpcServer::shutdown(std::chrono::milliseconds timeout) {
  server_->Shutdown(std::chrono::system_clock::now() + timeout);
}

std::shared_ptr<grpc::Channel> internal_channel(const std::string& address, TlsFiles* cluster) {
  initialise_grpc();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // no back-off inherited from an earlier channel
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kInitialReconnectBackoffMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectBackoffMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  if (cluster != nullptr) arguments.SetSslTargetNameOverride(kClusterName);
  return grpc::CreateCustomChannel(address, channel_credentials(cluster), arguments);
}

}  // namespace octet
