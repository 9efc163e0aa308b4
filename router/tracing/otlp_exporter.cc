#include "router/tracing/otlp_exporter.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/log.h"
#include "base/status.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h"
#include "router/tracing/spans.h"

namespace octet::router {
namespace {

using opentelemetry::proto::collector::trace::v1::ExportTraceServiceResponse;
using opentelemetry::proto::collector::trace::v1::TraceService;

constexpr const char* kFlag = "--otlp-endpoint";
constexpr int kDefaultPort = 4317;
constexpr int kMaxPort = 65535;
constexpr BatchLimits kLimits{.max_waiting = 2048, .max_batch = 256, .max_delay = std::chrono::seconds(1)};
constexpr std::chrono::seconds kExportTimeout(5);
constexpr std::chrono::seconds kClosingTimeout(2);

}  // namespace

absl::StatusOr<OtlpTarget> parse_otlp_endpoint(const std::string& endpoint) {
  absl::string_view rest = endpoint;
  OtlpTarget target{.address = "", .tls = true};
  if (absl::ConsumePrefix(&rest, "http://")) {
    target.tls = false;
  } else {
    absl::ConsumePrefix(&rest, "https://");
  }
  absl::ConsumeSuffix(&rest, "/");
  const auto wrong = [&](const char* what) {
    return absl::InvalidArgumentError(absl::StrCat("'", endpoint, "' ", what));
  };
  if (rest.empty() || rest.find('/') != rest.npos || rest.find('@') != rest.npos) {
    return wrong("is not http://HOST:PORT, https://HOST:PORT or HOST:PORT");
  }
  const size_t colon = rest.rfind(':');
  if (colon == rest.npos || rest.back() == ']') {  // the colons of an address in brackets are its own
    target.address = absl::StrCat(rest, ":", kDefaultPort);
    return target;
  }
  int port = 0;
  if (colon == 0 || !absl::SimpleAtoi(rest.substr(colon + 1), &port) || port < 1 || port > kMaxPort) {
    return wrong("has no port in the range 1 to 65535");
  }
  target.address = std::string(rest);
  return target;
}

absl::StatusOr<std::unique_ptr<OtlpExporter>> OtlpExporter::open(const OtlpOptions& options,
                                                                 RouterMetrics& metrics) {
  const auto target = parse_otlp_endpoint(options.endpoint);
  if (!target.ok()) return invalid_field(kFlag, text_of(target.status()));
  return std::unique_ptr<OtlpExporter>(new OtlpExporter(options, *target, metrics));
}

OtlpExporter::OtlpExporter(OtlpOptions options, const OtlpTarget& target, RouterMetrics& metrics)
    : options_(std::move(options)), metrics_(metrics) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const auto credentials = target.tls ? grpc::SslCredentials({}) : grpc::InsecureChannelCredentials();
  stub_ = TraceService::NewStub(grpc::CreateCustomChannel(target.address, credentials, arguments));
  thread_ = std::make_unique<BatchThread<std::shared_ptr<const CallRecord>>>(
      kLimits, [this](const Batch& batch) { send(batch); });
}

OtlpExporter::~OtlpExporter() {
  closing_ = true;
  thread_.reset();
}

void OtlpExporter::take(std::shared_ptr<const CallRecord> record) {
  if (!record->span || !record->span->sampled || record->origin.operation.empty()) return;
  const size_t num_lost = num_spans(*record);
  if (!thread_->push(std::move(record))) metrics_.count_dropped_spans("queue_full", num_lost);
}

void OtlpExporter::send(const Batch& batch) {
  std::vector<opentelemetry::proto::trace::v1::Span> spans;
  for (const auto& record : batch) {
    auto of_call = spans_of(*record);
    std::move(of_call.begin(), of_call.end(), std::back_inserter(spans));
  }
  const size_t num_spans = spans.size();
  // At the end a collector that does not answer is not waited for again.
  grpc::Status status(grpc::StatusCode::UNAVAILABLE, "the router ends");
  ExportTraceServiceResponse response;
  if (!closing_ || !failing_) {
    grpc::ClientContext call;
    call.set_deadline(std::chrono::system_clock::now() + (closing_ ? kClosingTimeout : kExportTimeout));
    status = stub_->Export(&call, export_request(std::move(spans), options_.service_name), &response);
  }
  const size_t num_refused =
      std::clamp<int64_t>(response.partial_success().rejected_spans(), 0, static_cast<int64_t>(num_spans));
  const size_t num_dropped = status.ok() ? num_refused : num_spans;
  metrics_.count_dropped_spans("export", num_dropped);
  metrics_.exported_spans.Increment(static_cast<double>(num_spans - num_dropped));
  if (!status.ok() && !failing_)
    spdlog::warn("{}: spans are lost: {}", kFlag, loggable(status.error_message(), 256));
  if (status.ok() && failing_) spdlog::info("{}: spans are taken again", kFlag);
  failing_ = !status.ok();
}

}  // namespace octet::router
