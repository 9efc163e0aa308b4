// What is known of one call to an API, from its arrival to its end: the source of its line in the access log
// and of its spans. No text of prompts or answers ever comes here.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "router/tracing/trace_context.h"

namespace octet::router {

// How a call came.
struct CallOrigin {
  std::string api;        // "grpc", "openai", "nemo"; empty: none of them
  std::string operation;  // "chat", "text_completion" as OpenTelemetry names them; empty: generates nothing
  std::string method;     // of HTTP; empty for gRPC
  std::string path;       // of HTTP without the query, or "/service/method"
  std::string client;     // "address:port"
  std::string request_id;
};

// What a call asked to be generated: of the first of its prompts, which differ in the seed only.
struct GenerationParameters {
  double temperature = 0;
  double top_p = 0;
  uint32_t top_k = 0;
  uint64_t seed = 0;
  uint32_t max_tokens = 0;
  uint32_t num_choices = 1;
};

// One prompt's way through the pipelines.
struct GenerationTrack {
  std::optional<Time> start;        // on a pipeline
  std::optional<Time> first_token;  // of any choice, at the router
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;
  uint32_t output_tokens = 0;
  std::vector<std::string> finish_reasons;  // of the choices that ended
};

// One thread at a time: gRPC's until the call is handed to the event loop, then the loop's.
struct CallRecord {
  // Of a call with several prompts: sums, and the first of the times.
  void add(const GenerationTrack& track);
  void end(Time time) {
    if (!end_time) end_time = time;
  }

  uint64_t unix_nanoseconds(Time time) const;
  // What went wrong: a status' name such as "INVALID_ARGUMENT", else the HTTP status; empty when nothing did.
  std::string error_type() const;
  // The field or the limit that the error is about; empty when it names none.
  std::string error_reason() const;

  CallOrigin origin;
  Time arrival = now();
  std::chrono::system_clock::time_point unix_arrival = std::chrono::system_clock::now();
  std::optional<Time> end_time;

  std::optional<TraceContext> parent;  // the caller's span
  std::optional<TraceContext> span;    // the call's own, when calls are traced

  std::string tenant;
  std::string model;
  std::string response_id;
  absl::Status status;  // of the generation, or of the gRPC call
  int http_status = 0;  // 0: not sent, or gRPC
  std::optional<GenerationParameters> parameters;
  std::optional<GenerationTrack> generation;
};

// The span that work for the call belongs to, or null.
const TraceContext* context_of(const CallRecord& record);

// Hears of calls that are over.
class CallSink {
 public:
  virtual ~CallSink() = default;
  // From any thread; does not wait.
  virtual void take(std::shared_ptr<const CallRecord> record) = 0;
};

}  // namespace octet::router
