// A stage that computes HashModel and checks every plan: it must be the one that the lead of its epoch sent,
// and follow from those before; each token must be the sequence's own; and what the sequence finds in the KV
// cache, before and after the plan, must be what it or another one with the same beginning wrote there.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/simulation/hash_model.h"
#include "worker/stage/batch_input.h"
#include "worker/stage/pipeline_stage.h"
#include "worker/stage/sequence_states.h"

namespace octet::simulation {

// What all stages of a pipeline share.
struct PipelineShape {
  int pipeline = 0;
  int num_stages = 1;
  int num_ranks = 1;
  uint32_t num_blocks = 64;
  uint32_t block_size = 4;
  uint32_t max_batch_tokens = 32;
  worker::ModelConfig model;
  Duration step_time{};   // of one plan on one stage
  Duration token_time{};  // of a row
  Duration step_timeout = std::chrono::seconds(2);
  size_t max_messages_on_the_way = 4000;  // to a router; one that is further behind is let go of
};

class HashStage final : public worker::PipelineStage {
 public:
  HashStage(const PipelineShape& pipeline, int stage);

  const worker::StageShape& shape() const override { return shape_; }
  int num_ranks() const override { return pipeline_.num_ranks; }
  absl::Status start_epoch(uint64_t epoch, worker::StageLinks links, uint32_t num_blocks) override;
  absl::Status connect(Time) override { return failure(); }
  worker::StepResult execute(const worker::BatchPlan& plan) override;
  void abort_epoch() override;

  // The next step is an error.
  void fail_next_step() { fails_ = true; }
  // Until then steps take `factor` times as long.
  void slow_down(double factor, Time until) {
    slowness_ = factor;
    slow_until_ = until;
  }

 private:
  struct Sequence {
    uint64_t name = 0;
    uint32_t num_prompt_tokens = 0;
    worker::SamplingParams sampling;
    std::vector<worker::TokenId>
        tokens;                      // as far as plans told them, and on the last stage as far as sampled
    std::vector<uint64_t> contents;  // [tokens.size()], hash of the tokens up to each
    std::vector<worker::BlockId> blocks;
    void append(worker::TokenId token);
  };

  bool is_last() const { return stage_ == pipeline_.num_stages - 1; }
  absl::Status failure() const;
  void close(const absl::Status& reason);
  absl::Status run(const worker::BatchPlan& plan, worker::StepResult& result);
  absl::Status receive(uint64_t step, uint64_t plan_digest);
  absl::Status send(uint64_t step, uint64_t plan_digest);
  void wait(Duration duration);
  void admit(const worker::AdmittedSequence& admitted);
  void take(const worker::SequenceChunk& chunk);
  void check_cache(const worker::SequenceChunk& chunk, const Sequence& sequence);
  void sample(const worker::BatchPlan& plan, std::vector<worker::SequenceSample>& samples);
  bool may_end(const Sequence& sequence, uint32_t position) const;
  template <typename... Parts>
  void wrong(const Parts&... parts) const;

  const PipelineShape pipeline_;
  const int stage_;
  worker::StageShape shape_;
  const HashModel model_;

  uint64_t epoch_ = 0;
  worker::SequenceStates states_;
  worker::BatchInput input_;
  std::unordered_map<worker::SequenceId, Sequence> sequences_;
  std::vector<uint64_t> cache_;  // [num_blocks * block_size]
  uint64_t last_step_ = 0;
  bool has_stepped_ = false;
  bool fails_ = false;
  double slowness_ = 1;
  Time slow_until_;
  worker::StageLinks links_;

  mutable std::mutex mutex_;
  std::condition_variable closed_;
  absl::Status failure_ = absl::FailedPreconditionError("no epoch has started");
};

// A number that differs for plans that differ.
uint64_t digest_of(const worker::BatchPlan& plan);

}  // namespace octet::simulation
