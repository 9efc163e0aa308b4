// The router as a whole: makes its parts, opens the APIs when the first pipeline is ready, and ends them in
// order.
#pragma once

#include <prometheus/registry.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/credential_metrics.h"
#include "base/credentials.h"
#include "base/progress.h"
#include "base/stop_signal.h"
#include "router/access/access.h"
#include "router/access/metered_generator.h"
#include "router/api/http_server.h"
#include "router/api/service_context.h"
#include "router/config.h"
#include "router/generation/pipeline_generator.h"
#include "router/metrics.h"
#include "router/routing/discovery.h"
#include "router/routing/pipeline_pool.h"
#include "router/tracing/access_log.h"
#include "router/tracing/call_recorder.h"
#include "router/tracing/otlp_exporter.h"

namespace grpc {
class Service;
}

namespace octet {
class GrpcServer;
class MetricsEndpoint;
}  // namespace octet

namespace octet::router {

// Three kinds of threads: the loop's one, which owns all state of requests; gRPC's, which parse and post to
// it; and the caller's, which waits for signals here.
class Router {
 public:
  // Loads the tokenizer, checks that the ports are free, and opens the metrics port. Errors: one line that
  // names the file, the flag or the address.
  static absl::StatusOr<std::unique_ptr<Router>> make(const RouterConfig& config);
  ~Router();

  // Serves until a signal comes, and drains. Errors: a port or file that cannot be opened.
  absl::Status run(StopSignal& stop);

 private:
  struct Credentials {  // null: no TLS
    std::shared_ptr<TlsFiles> clients;
    std::shared_ptr<TlsFiles> metrics;
    std::shared_ptr<TlsFiles> cluster;
  };

  Router(const RouterConfig& config, Credentials credentials, std::shared_ptr<const Tokenizer> tokenizer,
         ChatTemplate chat_template);

  absl::Status open_metrics();
  absl::Status open_access();
  absl::Status open_recorder();
  absl::Status open_apis();
  absl::Status open_http();
  absl::Status write_port_file() const;
  void watch_progress();
  void drain();
  // Requests and HTTP connections that are not done.
  size_t num_busy();

  // Runs f on the event loop and waits for it.
  void on_loop(const std::function<void()>& f);
  // On the loop: readiness may have changed.
  void update_ready();

  const RouterConfig config_;
  const Credentials credentials_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const ChatTemplate chat_template_;
  RouterMetrics metrics_;
  CredentialMetrics credential_metrics_;
  std::unique_ptr<Access> access_;          // null: no API key is asked for
  std::unique_ptr<AccessLog> access_log_;   // null: none
  std::unique_ptr<OtlpExporter> exporter_;  // null: no traces
  std::unique_ptr<CallRecorder> calls_;     // null: there is neither of them
  std::unique_ptr<MetricsEndpoint> metrics_endpoint_;

  boost::asio::io_context loop_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  PipelinePool pool_;
  Discovery discovery_;
  PipelineGenerator generator_;
  MeteredGenerator metered_;
  std::optional<ServiceContext> context_;  // from the first ready pipeline on
  std::unique_ptr<grpc::Service> grpc_api_;
  std::unique_ptr<GrpcServer> grpc_server_;
  std::unique_ptr<HttpServer> http_server_;  // the loop's

  bool serving_ = false;  // the loop's: APIs are open and not draining
  std::atomic<bool> any_pipeline_{false};
  std::atomic<bool> ready_{false};
  Progress progress_;
  std::atomic<bool> live_{true};
  std::atomic<Time> last_turn_{Time()};  // of the loop
  std::thread loop_thread_;
};

}  // namespace octet::router
