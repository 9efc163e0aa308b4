// The stages of the nano model in one process, joined by links, executing each plan one stage after the
// other.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "worker/batch/batch_plan.h"
#include "worker/batch/step_result.h"
#include "worker/link/link.h"
#include "worker/stage/stage.h"

namespace octet::worker {

// One thread a rank: the model is too small for more, and a test's stages compute one after the other.
inline StageConfig nano_config(int num_stages = 1, int num_ranks = 1) {
  StageConfig config;
  config.model_dir = "deploy/nano";
  config.num_stages = num_stages;
  config.num_ranks = num_ranks;
  config.threads_per_rank = 1;
  config.max_batch_tokens = 2048;
  return config;
}

class Pipeline {
 public:
  explicit Pipeline(StageConfig config, const RankFactory& make_ranks = {}) {
    for (config.stage = 0; config.stage < config.num_stages; ++config.stage) {
      stages_.push_back(Stage::load(config, make_ranks).value());
    }
  }
  Pipeline(int num_stages, int num_ranks, const WeightOptions& weights = {})
      : Pipeline(with_weights(nano_config(num_stages, num_ranks), weights)) {}

  Stage& stage(size_t index) { return *stages_[index]; }
  size_t num_stages() const { return stages_.size(); }

  // Starts an epoch with links inside the process.
  absl::Status start_epoch(uint32_t num_blocks = 1024) {
    std::vector<StageLinks> links(stages_.size());
    for (size_t i = 0; i + 1 < stages_.size(); ++i) {
      for (int rank = 0; rank < stages_[i]->config().num_ranks; ++rank) {
        auto [from, to] = in_process_link();
        links[i].to_next.push_back(std::move(from));
        links[i + 1].from_previous.push_back(std::move(to));
      }
    }
    return start_epoch(std::move(links), num_blocks);
  }

  absl::Status start_epoch(std::vector<StageLinks> links, uint32_t num_blocks) {
    ++epoch_;
    for (size_t i = 0; i < stages_.size(); ++i) {
      absl::Status status = stages_[i]->start_epoch(epoch_, std::move(links[i]), num_blocks);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // The last stage's result, or the first one with an error.
  StepResult execute(const BatchPlan& plan) {
    StepResult result;
    for (const auto& stage : stages_) {
      result = stage->execute(plan);
      if (!result.error.empty()) break;
    }
    return result;
  }

 private:
  static StageConfig with_weights(StageConfig config, const WeightOptions& weights) {
    config.weights = weights;
    return config;
  }

  std::vector<std::unique_ptr<Stage>> stages_;
  uint64_t epoch_ = 0;
};

}  // namespace octet::worker
