// The settings of octet-router, as its flags give them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/credentials.h"

namespace octet::router {

struct RouterConfig {
  std::string tokenizer;
  std::vector<std::string> pipelines;  // HOST:PORT or dns:///HOST:PORT each
  std::string pipelines_file;          // more of them; empty: none
  Duration discovery_interval = std::chrono::seconds(5);
  std::string chat_format;  // empty: what the tokenizer's folder asks for

  std::string host = "0.0.0.0";
  int grpc_port = 50051;
  int http_port = 1424;
  int metrics_port = 9400;
  std::string port_file;  // empty: none

  TlsPaths tls = public_tls_paths();  // of the API ports
  TlsPaths metrics_tls = metrics_tls_paths();
  TlsPaths cluster = cluster_tls_paths();  // towards the leads
  std::string api_keys;                    // empty: none is asked for

  uint32_t max_requests = 2048;
  uint32_t max_sequences = 4096;
  uint32_t max_queued_requests = 1024;
  uint32_t max_queued_tokens = 1'000'000;
  Duration max_queue_wait = std::chrono::minutes(1);
  Duration move_wait = std::chrono::minutes(2);
  uint32_t max_moves = 5;
  uint32_t pipeline_max_sequences = 256;
  uint32_t pipeline_max_prompt_tokens = 8192;
  uint32_t max_body_mib = 8;
  Duration default_timeout = std::chrono::minutes(10);
  Duration pipeline_timeout = std::chrono::seconds(10);
  Duration drain_timeout = std::chrono::seconds(30);
  std::string log_level = "info";

  std::string access_log;     // a path or "-"; empty: none
  std::string otlp_endpoint;  // empty: no traces
  std::string otlp_service_name = "octet-router";
  double trace_sample_ratio = 1;
};

enum class ConfigOutcome {
  kRun,
  kPrinted,  // help, or a new API key
};

// Fills config from the command line, --config and the environment. Errors: INVALID_ARGUMENT in one line that
// names the flag.
absl::StatusOr<ConfigOutcome> parse_config(int argc, const char* const* argv, RouterConfig& config);

}  // namespace octet::router
