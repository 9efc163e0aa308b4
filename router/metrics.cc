#include "router/metrics.h"

#include <array>
#include <map>

namespace octet::router {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

// From a cached prompt on an idle small model to a long wait in a queue.
const Buckets kTimeToFirstToken = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                   1,     2.5,    5,     10,   15,    20,   30,  60};
// From the nano model (0.1 ms) to a step that a long prompt fills.
const Buckets kInterTokenLatency = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025,
                                    0.03,   0.04,    0.05,   0.075, 0.1,    0.15,  0.25, 0.5,   1,    2.5};
const Buckets kQueueWait = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                            2.5,   5,     10,   20,    30,   60,  120,  300};
const Buckets kRequest = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                          2.5,   5,     10,   20,    30,   60,  120,  300};

prometheus::Gauge& gauge(prometheus::Registry& registry, const std::string& name, const std::string& help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Counter& counter(prometheus::Registry& registry, const std::string& name,
                             const std::string& help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Histogram& histogram(prometheus::Registry& registry, const std::string& name,
                                 const std::string& help, const Buckets& buckets) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
}

using Reason = RouterMetrics::RefusalReason;
// By the reason's number.
constexpr std::array<const char*, 9> kReasons = {
    "requests_in_flight", "sequences_in_flight", "queued_requests", "queued_tokens", "queue_wait",
    "hopeless_deadline",  "displaced",           "no_pipeline",     "draining"};
static_assert(kReasons.size() == static_cast<size_t>(Reason::kDraining) + 1);

const char* priority_label(int32_t priority) {
  if (priority == 0) return "normal";
  return priority < 0 ? "high" : "low";
}

}  // namespace

RouterMetrics::RouterMetrics() : RouterMetrics(std::make_shared<prometheus::Registry>()) {}

RouterMetrics::RouterMetrics(const std::shared_ptr<prometheus::Registry>& registry)
    : requests_in_flight(gauge(*registry, "octet_requests_in_flight", "Requests admitted and not ended.")),
      sequences_in_flight(gauge(*registry, "octet_sequences_in_flight",
                                "Sequences (choices of requests) admitted and not ended.")),
      prompt_tokens(counter(*registry, "octet_prompt_tokens_total", "Prompt tokens of admitted requests.")),
      generated_tokens(counter(*registry, "octet_generated_tokens_total", "Tokens generated for requests.")),
      time_to_first_token_seconds(histogram(*registry, "octet_time_to_first_token_seconds",
                                            "From the arrival of a request to its first token at the router.",
                                            kTimeToFirstToken)),
      inter_token_latency_seconds(
          histogram(*registry, "octet_inter_token_latency_seconds",
                    "Gap between two messages with tokens of one choice, over the tokens of the second.",
                    kInterTokenLatency)),
      request_seconds(histogram(
          *registry, "octet_request_duration_seconds",
          "From the arrival of a request to its last piece, for requests that were answered.", kRequest)),
      pipelines_ready(gauge(*registry, "octet_pipelines_ready", "Pipelines that take sequences.")),
      pipelines_circuit_open(gauge(*registry, "octet_pipelines_circuit_open",
                                   "Pipelines that failed sequence after sequence and are left alone.")),
      progressing(
          gauge(*registry, "octet_progressing", "1 while the event loop turns, which all requests need.")),
      prefix_blocks_known(gauge(*registry, "octet_prefix_blocks_known",
                                "Blocks in the prefix caches of the pipelines, as far as their leads told.")),
      queue_tokens(
          gauge(*registry, "octet_queue_tokens", "Prompt tokens of requests that wait for a pipeline.")),
      queue_wait_seconds(histogram(*registry, "octet_queue_wait_seconds",
                                   "From the arrival of a request to its start on a pipeline.", kQueueWait)),
      exported_spans(
          counter(*registry, "octet_exported_spans_total", "Spans that the collector of traces took.")),
      lost_access_log_lines(counter(*registry, "octet_lost_access_log_lines_total",
                                    "Lines of the access log that could not be written.")),
      registry_(registry),
      requests_(prometheus::BuildCounter()
                    .Name("octet_requests_total")
                    .Help("Generation requests that ended, by the API they came through and how they ended.")
                    .Register(*registry)),
      refusals_(prometheus::BuildCounter()
                    .Name("octet_refusals_total")
                    .Help("Requests that were refused, or gave their place in the queue to another.")
                    .Register(*registry)),
      refused_keys_(prometheus::BuildCounter()
                        .Name("octet_refused_keys_total")
                        .Help("Calls that were refused for their API key, or for want of one.")
                        .Register(*registry)),
      dropped_spans_(prometheus::BuildCounter()
                         .Name("octet_dropped_spans_total")
                         .Help("Spans that the collector of traces did not get.")
                         .Register(*registry)),
      moves_(
          prometheus::BuildCounter()
              .Name("octet_moves_total")
              .Help(
                  "Sequences that left a pipeline before their end, to go on with the same tokens elsewhere.")
              .Register(*registry)),
      given_up_(prometheus::BuildCounter()
                    .Name("octet_moves_given_up_total")
                    .Help("Sequences that left a pipeline before their end and failed.")
                    .Register(*registry)),
      queue_requests_(prometheus::BuildGauge()
                          .Name("octet_queue_requests")
                          .Help("Requests that wait for a pipeline.")
                          .Register(*registry)) {
  progressing.Set(1);
  // Series exist from the start, so that a rate over the first error is not lost.
  for (const char* api : {"grpc", "openai", "nemo"}) {
    for (const char* outcome : {"ok", "invalid", "overloaded", "unavailable", "deadline", "cancelled",
                                "unauthenticated", "forbidden", "internal"}) {
      requests_.Add({{"api", api}, {"outcome", outcome}});
    }
  }
  for (const char* reason : kReasons) refusals_.Add({{"reason", reason}});
  for (const char* reason : {"missing", "unknown", "scope", "quota"}) refused_keys_.Add({{"reason", reason}});
  for (const char* reason : {"queue_full", "export"}) dropped_spans_.Add({{"reason", reason}});
  for (const char* reason : {"lost", "hung", "draining", "failed"}) moves_.Add({{"reason", reason}});
  for (const char* reason : {"too_often", "no_budget", "no_pipeline"}) given_up_.Add({{"reason", reason}});
  for (const int32_t priority : {-1, 0, 1}) queue_requests(priority);
}

void RouterMetrics::count_refused_key(const std::string& reason) {
  refused_keys_.Add({{"reason", reason}}).Increment();
}

void RouterMetrics::count_dropped_spans(const std::string& reason, size_t num_spans) {
  dropped_spans_.Add({{"reason", reason}}).Increment(static_cast<double>(num_spans));
}

void RouterMetrics::count_move(const std::string& reason) {
  moves_.Add({{"reason", reason}}).Increment();
}

void RouterMetrics::count_given_up(const std::string& reason) {
  given_up_.Add({{"reason", reason}}).Increment();
}

void RouterMetrics::count_refusal(RefusalReason reason) {
  refusals_.Add({{"reason", kReasons[static_cast<size_t>(reason)]}}).Increment();
}

prometheus::Gauge& RouterMetrics::queue_requests(int32_t priority) {
  return queue_requests_.Add({{"priority", priority_label(priority)}});
}

void RouterMetrics::count_request(const std::string& api, const std::string& outcome) {
  requests_.Add({{"api", api}, {"outcome", outcome}}).Increment();
}

}  // namespace octet::router
