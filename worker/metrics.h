// Every series of a worker, defined here once. The lead tells of the scheduler, the steps and all stages; a
// later stage of itself. Base units, prefix octet_, no label that a client chooses.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <memory>
#include <string>
#include <vector>

#include "worker/batch/step_result.h"

namespace octet::worker {

class WorkerMetrics {
 public:
  // Series with a stage label exist for these stages.
  explicit WorkerMetrics(const std::vector<int>& stages);

  std::shared_ptr<prometheus::Registry> registry() const { return registry_; }

  // Adds one step of a stage to octet_stage_{compute,receive_wait,send,idle}_seconds_total{stage} and
  // octet_handoff_bytes_total{stage}. From any thread, like all below.
  void record_stage_step(int stage, const StepTiming& timing);
  // octet_stage_timeouts_total{stage}: epochs that ended because stages, this one among them, did not finish
  // a step or a join in time.
  void count_timeout(int stage);
  // octet_backend_info{backend}: 1; what computes the model, so that a simulation is never taken for a model.
  void set_backend(const std::string& backend);
  // octet_sequences_ended_total{reason}: stop | length | deadline | cancelled | invalid | overloaded |
  // unavailable | internal.
  void count_ended(const std::string& reason);

 private:
  std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Family<prometheus::Counter>& ended_;
  struct StageCounters {
    prometheus::Counter& compute_seconds;
    prometheus::Counter& receive_wait_seconds;
    prometheus::Counter& send_seconds;
    prometheus::Counter& idle_seconds;
    prometheus::Counter& handoff_bytes;
    prometheus::Counter& timeouts;
  };
  std::vector<int> stages_;
  std::vector<StageCounters> stage_counters_;  // [stages_.size()]

 public:
  prometheus::Gauge& epoch;         // octet_epoch: the formation in force or being made, 0 before the first
  prometheus::Gauge& ready;         // octet_ready: 1 when /ready says so
  prometheus::Gauge& progressing;   // octet_progressing: 1 unless work in flight is overdue
  prometheus::Gauge& load_seconds;  // octet_load_seconds: reading config and weights at start
  prometheus::Gauge&
      last_step_age_seconds;  // octet_last_step_age_seconds: since a step ended here; 0 before the first
  // The following stay zero on later stages.
  prometheus::Gauge& running;               // octet_sequences_running: admitted, with blocks of the KV cache
  prometheus::Gauge& waiting;               // octet_sequences_waiting: submitted or preempted
  prometheus::Gauge& kv_cache_usage_ratio;  // octet_kv_cache_usage_ratio: blocks in use of all blocks, 0 to 1
  prometheus::Gauge& kv_cache_blocks;       // octet_kv_cache_blocks
  prometheus::Gauge& kv_cache_block_tokens;  // octet_kv_cache_block_tokens: tokens in a block
  prometheus::Counter& preemptions;          // octet_preemptions_total
  // octet_prefix_cache_query_tokens_total: prompt tokens of sequences admitted for the first time
  prometheus::Counter& prefix_query_tokens;
  prometheus::Counter& prefix_hit_tokens;  // octet_prefix_cache_hit_tokens_total: those that were cached
  // octet_prefix_cache_evictions_total: blocks whose content made room
  prometheus::Counter& prefix_evictions;
  prometheus::Counter& steps;          // octet_steps_total: committed
  prometheus::Counter& epochs_ended;   // octet_epochs_ended_total: by a failure
  prometheus::Histogram& step_tokens;  // octet_step_tokens: rows of a micro-batch, prefill and decode
  // octet_step_overhead_seconds: the time of a step that no stage spent, from the start of its scheduling to
  // the end of its commit, less the last stage's resident time (its plan's arrival to its result, waits for
  // the previous stages included). So: scheduling, the plan's and the result's way over the wire, commit.
  prometheus::Histogram& step_overhead_seconds;
};

}  // namespace octet::worker
