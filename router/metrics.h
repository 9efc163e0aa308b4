// Every series of the router, defined here once. Durations are in seconds.
//   TTFT: arrival of the request to its first token at the router. ITL: gap between two messages with tokens
//   of one choice, divided by the tokens of the second. End-to-end: arrival to the last piece handed to the
//   API.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <memory>
#include <string>

namespace octet::router {

class RouterMetrics {
 public:
  RouterMetrics();

  std::shared_ptr<prometheus::Registry> registry() const { return registry_; }

  // octet_refusals_total{reason}: requests that were refused, or gave their place in the queue to another.
  enum class RefusalReason {
    kRequestsInFlight,
    kSequencesInFlight,
    kQueuedRequests,
    kQueuedTokens,
    kQueueWait,
    kHopelessDeadline,
    kDisplaced,
    kNoPipeline,
    kDraining,
  };
  void count_refusal(RefusalReason reason);
  // octet_queue_requests{priority}: high (below 0), normal (0) or low.
  prometheus::Gauge& queue_requests(int32_t priority);

  // octet_requests_total{api, outcome}: api = grpc | openai | nemo; outcome = ok | invalid | overloaded |
  // unavailable | deadline | cancelled | unauthenticated | forbidden | internal. From any thread.
  void count_request(const std::string& api, const std::string& outcome);

  // octet_refused_keys_total{reason}: missing | unknown | scope | quota. From any thread.
  void count_refused_key(const std::string& reason);

  // octet_dropped_spans_total{reason}: queue_full | export. From any thread.
  void count_dropped_spans(const std::string& reason, size_t num_spans);
  // octet_moves_total{reason}: sequences that left a pipeline to go on elsewhere; lost | hung | draining |
  // failed (the lead gave it up, and it is tried again).
  void count_move(const std::string& reason);
  // octet_moves_given_up_total{reason}: sequences that failed instead; too_often | no_budget | no_pipeline.
  void count_given_up(const std::string& reason);

  prometheus::Gauge& requests_in_flight;               // octet_requests_in_flight
  prometheus::Gauge& sequences_in_flight;              // octet_sequences_in_flight
  prometheus::Counter& prompt_tokens;                  // octet_prompt_tokens_total
  prometheus::Counter& generated_tokens;               // octet_generated_tokens_total
  prometheus::Histogram& time_to_first_token_seconds;  // octet_time_to_first_token_seconds
  prometheus::Histogram& inter_token_latency_seconds;  // octet_inter_token_latency_seconds
  prometheus::Histogram& request_seconds;              // octet_request_duration_seconds
  prometheus::Gauge& pipelines_ready;                  // octet_pipelines_ready
  prometheus::Gauge& pipelines_circuit_open;           // octet_pipelines_circuit_open
  prometheus::Gauge& progressing;                      // octet_progressing
  prometheus::Gauge& prefix_blocks_known;              // octet_prefix_blocks_known
  prometheus::Gauge& queue_tokens;                     // octet_queue_tokens
  prometheus::Histogram& queue_wait_seconds;           // octet_queue_wait_seconds
  prometheus::Counter& exported_spans;                 // octet_exported_spans_total
  prometheus::Counter& lost_access_log_lines;          // octet_lost_access_log_lines_total

 private:
  explicit RouterMetrics(const std::shared_ptr<prometheus::Registry>& registry);
  std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Counter>& refusals_;
  prometheus::Family<prometheus::Counter>& refused_keys_;
  prometheus::Family<prometheus::Counter>& dropped_spans_;
  prometheus::Family<prometheus::Counter>& moves_;
  prometheus::Family<prometheus::Counter>& given_up_;
  prometheus::Family<prometheus::Gauge>& queue_requests_;
};

// Adds one (or more) to a gauge for as long as it lives, so that no way out of a function forgets to take it
// off.
class InFlight {
 public:
  explicit InFlight(prometheus::Gauge& gauge, double count = 1) : gauge_(gauge), count_(count) {
    gauge_.Increment(count_);
  }
  ~InFlight() { gauge_.Decrement(count_); }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  prometheus::Gauge& gauge_;
  const double count_;
};

}  // namespace octet::router
