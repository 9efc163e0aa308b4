// Sends the spans of calls to a collector, over OTLP/gRPC, by a thread of its own.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h"
#include "router/metrics.h"
#include "router/tracing/batch_thread.h"
#include "router/tracing/call_record.h"

namespace octet::router {

struct OtlpOptions {
  // As OpenTelemetry has it: http://HOST:PORT is plaintext; https://HOST:PORT, or HOST:PORT alone, is TLS
  // with the system's authorities. Without a port: 4317.
  std::string endpoint;
  std::string service_name = "octet-router";
};

// "HOST:PORT" and whether to speak TLS. Errors: INVALID_ARGUMENT that says what is wrong with the endpoint.
struct OtlpTarget {
  std::string address;
  bool tls = false;
};
absl::StatusOr<OtlpTarget> parse_otlp_endpoint(const std::string& endpoint);

// A batch is tried once: spans that the collector does not take, and those that come while too many wait, are
// counted (octet_dropped_spans_total) and are gone.
class OtlpExporter final : public CallSink {
 public:
  // Errors: INVALID_ARGUMENT "--otlp-endpoint: ...". Whether a collector listens is seen when it is needed.
  static absl::StatusOr<std::unique_ptr<OtlpExporter>> open(const OtlpOptions& options,
                                                            RouterMetrics& metrics);
  // Sends what waits, as long as the collector takes it.
  ~OtlpExporter() override;

  // Takes those that generate and are sampled.
  void take(std::shared_ptr<const CallRecord> record) override;

 private:
  using Batch = std::vector<std::shared_ptr<const CallRecord>>;

  OtlpExporter(OtlpOptions options, const OtlpTarget& target, RouterMetrics& metrics);
  void send(const Batch& batch);

  const OtlpOptions options_;
  RouterMetrics& metrics_;
  std::unique_ptr<opentelemetry::proto::collector::trace::v1::TraceService::StubInterface> stub_;
  bool failing_ = false;  // the thread's
  std::atomic<bool> closing_{false};
  std::unique_ptr<BatchThread<std::shared_ptr<const CallRecord>>> thread_;
};

}  // namespace octet::router
