#include "worker/metrics.h"

#include <algorithm>

namespace octet::worker {
namespace {

// From 10 us: an idle loopback step costs some tens, a loaded one hundreds.
const prometheus::Histogram::BucketBoundaries kOverheadSeconds = {
    10e-6,  20e-6,  30e-6,  50e-6, 75e-6,  100e-6, 150e-6, 200e-6, 250e-6, 300e-6,
    400e-6, 500e-6, 750e-6, 1e-3,  1.5e-3, 2.5e-3, 5e-3,   10e-3,  50e-3,  0.25};
const prometheus::Histogram::BucketBoundaries kStepTokens = {1,   2,   4,   8,    16,   32,   64,
                                                             128, 256, 512, 1024, 2048, 4096, 8192};

prometheus::Family<prometheus::Counter>& counter_family(prometheus::Registry& registry,
                                                        const std::string& name, const std::string& help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

prometheus::Counter& counter(prometheus::Registry& registry, const std::string& name,
                             const std::string& help) {
  return counter_family(registry, name, help).Add({});
}

prometheus::Gauge& gauge(prometheus::Registry& registry, const std::string& name, const std::string& help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Histogram& histogram(prometheus::Registry& registry, const std::string& name,
                                 const std::string& help,
                                 const prometheus::Histogram::BucketBoundaries& buckets) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
}

}  // namespace

WorkerMetrics::WorkerMetrics(const std::vector<int>& stages)
    : registry_(std::make_shared<prometheus::Registry>()),
      ended_(counter_family(*registry_, "octet_sequences_ended_total", "Sequences that ended, by reason.")),
      stages_(stages),
      epoch(gauge(*registry_, "octet_epoch", "Number of the pipeline's formation in force or being made.")),
      ready(gauge(*registry_, "octet_ready", "1 when the worker is ready for its work.")),
      progressing(prometheus::BuildGauge()
                      .Name("octet_progressing")
                      .Help("1 unless work in flight of this stage is overdue.")
                      .Register(*registry_)
                      .Add({{"stage", std::to_string(stages.front())}})),
      load_seconds(
          gauge(*registry_, "octet_load_seconds", "Time to read the configuration and the weights.")),
      last_step_age_seconds(
          gauge(*registry_, "octet_last_step_age_seconds", "Time since a step ended here.")),
      running(gauge(*registry_, "octet_sequences_running", "Sequences with blocks of the KV cache.")),
      waiting(gauge(*registry_, "octet_sequences_waiting", "Sequences that wait for admission.")),
      kv_cache_usage_ratio(
          gauge(*registry_, "octet_kv_cache_usage_ratio", "Share of the KV cache's blocks in use.")),
      kv_cache_blocks(gauge(*registry_, "octet_kv_cache_blocks", "Blocks of the KV cache.")),
      kv_cache_block_tokens(
          gauge(*registry_, "octet_kv_cache_block_tokens", "Tokens in a block of the KV cache.")),
      preemptions(counter(*registry_, "octet_preemptions_total", "Running sequences put back to waiting.")),
      prefix_query_tokens(counter(*registry_, "octet_prefix_cache_query_tokens_total",
                                  "Prompt tokens of sequences admitted for the first time.")),
      prefix_hit_tokens(counter(*registry_, "octet_prefix_cache_hit_tokens_total",
                                "Prompt tokens found in the prefix cache.")),
      prefix_evictions(counter(*registry_, "octet_prefix_cache_evictions_total",
                               "Blocks whose cached content made room for other tokens.")),
      steps(counter(*registry_, "octet_steps_total", "Steps committed.")),
      epochs_ended(counter(*registry_, "octet_epochs_ended_total", "Epochs ended by a failure.")),
      step_tokens(histogram(*registry_, "octet_step_tokens", "Rows of a micro-batch.", kStepTokens)),
      step_overhead_seconds(histogram(*registry_, "octet_step_overhead_seconds",
                                      "Time of a step that no stage spent: scheduling, wire, commit.",
                                      kOverheadSeconds)) {
  for (const char* reason :
       {"stop", "length", "deadline", "cancelled", "invalid", "overloaded", "unavailable", "internal"}) {
    ended_.Add({{"reason", reason}});
  }
  prometheus::Registry& registry = *registry_;
  auto& compute = counter_family(registry, "octet_stage_compute_seconds_total", "Time a stage computed.");
  auto& receive = counter_family(registry, "octet_stage_receive_wait_seconds_total",
                                 "Time a stage waited for the previous stage's activations.");
  auto& send = counter_family(registry, "octet_stage_send_seconds_total",
                              "Time a stage took to hand activations to the next stage.");
  auto& idle = counter_family(registry, "octet_stage_idle_seconds_total", "Time a stage waited for a plan.");
  auto& bytes =
      counter_family(registry, "octet_handoff_bytes_total", "Activations handed to the next stage.");
  auto& timeouts = counter_family(registry, "octet_stage_timeouts_total",
                                  "Epochs that ended for want of this stage's step or join, among others.");
  for (const int stage : stages_) {
    const prometheus::Labels labels = {{"stage", std::to_string(stage)}};
    stage_counters_.push_back({compute.Add(labels), receive.Add(labels), send.Add(labels), idle.Add(labels),
                               bytes.Add(labels), timeouts.Add(labels)});
  }
}

void WorkerMetrics::record_stage_step(int stage, const StepTiming& timing) {
  const auto found = std::find(stages_.begin(), stages_.end(), stage);
  if (found == stages_.end()) return;
  const StageCounters& counters = stage_counters_[static_cast<size_t>(found - stages_.begin())];
  const auto add = [](prometheus::Counter& to, uint64_t ns) { to.Increment(static_cast<double>(ns) * 1e-9); };
  add(counters.compute_seconds, timing.compute_ns);
  add(counters.receive_wait_seconds, timing.receive_wait_ns);
  add(counters.send_seconds, timing.send_ns);
  add(counters.idle_seconds, timing.idle_ns);
  counters.handoff_bytes.Increment(static_cast<double>(timing.sent_bytes));
}

void WorkerMetrics::count_timeout(int stage) {
  const auto found = std::find(stages_.begin(), stages_.end(), stage);
  if (found != stages_.end())
    stage_counters_[static_cast<size_t>(found - stages_.begin())].timeouts.Increment();
}

void WorkerMetrics::set_backend(const std::string& backend) {
  prometheus::BuildGauge()
      .Name("octet_backend_info")
      .Help("1, labelled with what computes the model.")
      .Register(*registry_)
      .Add({{"backend", backend}})
      .Set(1);
}

void WorkerMetrics::count_ended(const std::string& reason) {
  ended_.Add({{"reason", reason}}).Increment();
}

}  // namespace octet::worker
