#include "router/config.h"

#include <cstdio>
#include <cstdlib>
#include <tuple>

#include "base/flags.h"
#include "base/status.h"
#include "router/access/api_keys.h"
#include "router/routing/addresses.h"

namespace octet::router {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kMaxPort = 65535;
constexpr uint32_t kMaxBodyMib = 1024;
constexpr uint32_t kMaxInFlight = 1'000'000;
constexpr uint32_t kMaxQueuedRequests = 100'000;
constexpr uint32_t kMaxMoves = 1000;
constexpr uint32_t kMaxTokens = 1'000'000'000;

void add_flags(Flags& flags, RouterConfig& config) {
  flags.add_text("tokenizer", &config.tokenizer, "The SentencePiece model file. Required.");
  flags.add_list(
      "pipeline", &config.pipelines,
      "HOST:PORT of the lead stage of each pipeline, or dns:///HOST:PORT for one at each address that "
      "the name has. All must serve the same model. Required, unless --pipelines-file is given.");
  flags.add_text(
      "pipelines-file", &config.pipelines_file,
      "A file with more of them, one a line, # for comments. Read again every discovery interval: a "
      "pipeline that is not in it any more finishes its sequences and takes no new ones.");
  flags.add_duration("discovery-interval", &config.discovery_interval, milliseconds(100), hours(1),
                     "How often the file is read and the names are looked up again.");
  flags.add_text(
      "chat-format", &config.chat_format,
      "How chats become prompts: nemotron-4 or nemotron-mini. Without it the folder of the tokenizer says "
      "it.");

  flags.add_text("host", &config.host, "Address to listen on.");
  flags.add_number(
      "grpc-port", &config.grpc_port, 0, kMaxPort,
      "Port of the gRPC API; 0 takes any free one. The API ports open when the first pipeline is ready.");
  flags.add_number("http-port", &config.http_port, 0, kMaxPort,
                   "Port of the HTTP APIs; 0 takes any free one.");
  flags.add_number("metrics-port", &config.metrics_port, 0, kMaxPort,
                   "Port of /metrics, /live and /ready, open from the start; 0 takes any free one.");
  flags.add_text("port-file", &config.port_file,
                 "A JSON file with the ports, written once the API ports are open. For scripts.");

  add_public_tls_flags(flags, config.tls);
  add_metrics_tls_flags(flags, config.metrics_tls);
  add_cluster_tls_flags(flags, config.cluster);
  flags.add_text("api-keys", &config.api_keys,
                 "File with the hashes of the API keys that clients must bring, as --make-api-key writes its "
                 "lines. Read again when it changes. Without it, no key is asked for.");

  flags.add_number("max-requests", &config.max_requests, 1, kMaxInFlight,
                   "Requests in flight, those that wait included; more are refused as overload.");
  flags.add_number("max-sequences", &config.max_sequences, 1, kMaxInFlight,
                   "Sequences (choices, over all requests) in flight; more are refused as overload.");
  flags.add_number("max-queued-requests", &config.max_queued_requests, 1, kMaxQueuedRequests,
                   "Requests that wait for room on a pipeline; more are refused as overload.");
  flags.add_number("max-queued-tokens", &config.max_queued_tokens, 1, kMaxTokens,
                   "Prompt tokens of the requests that wait, over all their sequences; more are refused.");
  flags.add_duration(
      "max-queue-wait", &config.max_queue_wait, milliseconds(1), hours(24),
      "How long a request may have to wait, as the rate of late tells when it comes; one that would "
      "wait longer is refused.");
  flags.add_duration(
      "move-wait", &config.move_wait, milliseconds(1), hours(24),
      "How long a sequence whose pipeline was lost waits for one while none is ready at all; "
      "then its request ends as UNAVAILABLE. Also how long newcomers wait for the only pipeline "
      "when it has lost a stage, before they are refused.");
  flags.add_number(
      "max-moves", &config.max_moves, 0, kMaxMoves,
      "How often in a row, with no token between, a sequence whose pipeline was lost or gave it up goes on "
      "elsewhere; a request that takes every pipeline with it must end some time.");
  flags.add_number(
      "pipeline-max-sequences", &config.pipeline_max_sequences, 1, kMaxInFlight,
      "Sequences on one pipeline, over all routers; more wait in the router. No more than the workers' "
      "--max-sequences, or they wait in the lead.");
  flags.add_number(
      "pipeline-max-prompt-tokens", &config.pipeline_max_prompt_tokens, 1, kMaxTokens,
      "Prompt tokens on one pipeline that are not computed yet, over all routers; more wait in the router. "
      "Twice what the pipeline's micro-batches take keeps it busy; more lets requests wait in line behind "
      "each other there, whatever their tenant and priority.");
  flags.add_number("max-body-mib", &config.max_body_mib, 1, kMaxBodyMib, "Largest request, in MiB.");
  flags.add_duration("default-timeout", &config.default_timeout, milliseconds(1), hours(1),
                     "Deadline of a request that brings none.");
  flags.add_duration(
      "pipeline-timeout", &config.pipeline_timeout, milliseconds(100), hours(1),
      "A pipeline whose lead says nothing for so long counts as lost, and its sequences move to "
      "another one; about the workers' --step-timeout.");
  flags.add_duration("drain-timeout", &config.drain_timeout, seconds(0), hours(24),
                     "How long SIGTERM lets running requests go on.");
  flags.add_choice("log-level", &config.log_level, {"trace", "debug", "info", "warning", "error"},
                   "Least level that is logged.");

  flags.add_text("access-log", &config.access_log,
                 "File that gets a line of JSON for every call when it is over, or - for standard output. "
                 "Without it, there is no access log.");
  flags.add_text(
      "otlp-endpoint", &config.otlp_endpoint,
      "OpenTelemetry collector that gets spans of the requests over OTLP/gRPC: http://HOST:PORT in "
      "plaintext, https://HOST:PORT or HOST:PORT with TLS. Without it the environment's "
      "OTEL_EXPORTER_OTLP_ENDPOINT is used, and without that requests are not traced.");
  flags.add_text("otlp-service-name", &config.otlp_service_name,
                 "The router's name in its spans; the environment's OTEL_SERVICE_NAME comes before the "
                 "default.");
  flags.add_number("trace-sample-ratio", &config.trace_sample_ratio, 0.0, 1.0,
                   "Share of the requests without a traceparent that are traced; those with one are traced "
                   "when it says so.");
}

// Variables that OpenTelemetry defines, for what no flag says.
void read_otel_environment(const Flags& flags, RouterConfig& config) {
  for (const auto& [flag, variable, value] :
       {std::tuple{"otlp-endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", &config.otlp_endpoint},
        {"otlp-service-name", "OTEL_SERVICE_NAME", &config.otlp_service_name}}) {
    const char* text = std::getenv(variable);
    if (text != nullptr && *text != '\0' && !flags.given(flag)) *value = text;
  }
}

absl::Status print_new_api_key(const std::string& tenant) {
  const auto made = make_api_key(tenant);
  if (!made.ok()) return invalid_field("--make-api-key", text_of(made.status()));
  std::fprintf(stderr, "The key, which cannot be shown again: %s\n", made->key.c_str());
  std::fprintf(stdout, "%s\n", made->line.c_str());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ConfigOutcome> parse_config(int argc, const char* const* argv, RouterConfig& config) {
  Flags flags("octet-router",
              "Takes requests over gRPC and HTTP and runs them on pipelines of octet-worker stages.");
  add_flags(flags, config);
  std::string new_key_tenant;
  flags.add_text(
      "make-api-key", &new_key_tenant,
      "Makes a key for the tenant of this name and ends: writes the line for --api-keys to standard "
      "output and the key itself to standard error.");
  const auto outcome = flags.parse(argc, argv);
  if (!outcome.ok()) return outcome.status();
  if (*outcome == Flags::Outcome::kHelpPrinted) return ConfigOutcome::kPrinted;
  if (flags.given("make-api-key")) {
    if (absl::Status status = print_new_api_key(new_key_tenant); !status.ok()) return status;
    return ConfigOutcome::kPrinted;
  }
  read_otel_environment(flags, config);
  if (config.tokenizer.empty()) return invalid_field("--tokenizer", "a SentencePiece model file is needed");
  if (absl::Status status = check_pipeline_entries(config.pipelines); !status.ok()) return status;
  if (!config.pipelines_file.empty()) {
    if (absl::Status status = read_pipelines_file(config.pipelines_file).status(); !status.ok())
      return status;
  } else if (config.pipelines.empty()) {
    return invalid_field("--pipeline", "at least one HOST:PORT is needed, here or in --pipelines-file");
  }
  return ConfigOutcome::kRun;
}

}  // namespace octet::router
