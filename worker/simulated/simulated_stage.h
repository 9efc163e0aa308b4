// A stage that computes nothing: it obeys plans like the real one, with the same checks, block tables and
// links, waits as long as it is told, and on the last stage answers with the tokens of simulated_tokens.h.
// For routers, queues, faults and load: every answer can be verified.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "worker/simulated/simulated_tokens.h"
#include "worker/stage/batch_input.h"
#include "worker/stage/pipeline_stage.h"
#include "worker/stage/sequence_states.h"
#include "worker/stage/stage.h"

namespace octet::worker {

// What one stage takes for a plan: `step`, and `token` for each of its rows.
struct SimulatedPace {
  Duration step{};
  Duration token{};
};

class SimulatedStage final : public PipelineStage {
 public:
  // Reads config.json only. The KV cache has the blocks that would fit in config.kv_cache_bytes, and no
  // memory. Errors: as Stage::load() has them for the folder and the flags.
  static absl::StatusOr<std::unique_ptr<PipelineStage>> load(const StageConfig& config,
                                                             const SimulatedPace& pace);

  const StageShape& shape() const override { return shape_; }
  int num_ranks() const override { return config_.num_ranks; }
  absl::Status start_epoch(uint64_t epoch, StageLinks links, uint32_t num_blocks) override;
  absl::Status connect(Time) override { return failure(); }
  StepResult execute(const BatchPlan& plan) override;
  void abort_epoch() override;

 private:
  // What the last stage knows of a sequence beside its state.
  struct Answer {
    uint64_t name = 0;
    uint32_t num_prompt_tokens = 0;
    SamplingParams sampling;
    std::vector<TokenId> prompt;  // where its log-probabilities are asked for
  };
  SimulatedStage(const StageConfig& config, StageShape shape, const SimulatedPace& pace);

  absl::Status failure() const;
  void close(const absl::Status& reason);
  bool is_last() const { return config_.stage == config_.num_stages - 1; }
  absl::Status run(const BatchPlan& plan, StepResult& result);
  absl::Status take_step(uint64_t step);
  absl::Status receive(uint64_t step);
  absl::Status send(uint64_t step);
  void wait(Duration duration);
  void admit(const BatchPlan& plan);
  void sample(const BatchPlan& plan, std::vector<SequenceSample>& samples) const;
  ScoredToken sampled(const Answer& answer, uint32_t position) const;
  ScoredToken scored(TokenId token, uint64_t draw, std::optional<uint32_t> num_top) const;

  const StageConfig config_;
  const StageShape shape_;
  const SimulatedPace pace_;
  const SimulatedVocabulary vocabulary_;

  SequenceStates states_;
  BatchInput input_;
  std::unordered_map<SequenceId, Answer> answers_;
  std::optional<uint64_t> last_step_;  // in this epoch
  StageLinks links_;

  mutable std::mutex mutex_;
  std::condition_variable closed_;
  absl::Status failure_ = absl::FailedPreconditionError("no epoch has started");  // why no epoch runs
};

}  // namespace octet::worker
