// The stages of the nano model in one process, joined by links, executing one plan after the other.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "worker/batch/batch_plan.h"
#include "worker/batch/step_result.h"
#include "worker/link/link.h"
#include "worker/stage/stage.h"

namespace octet::worker {

// One thread a rank: the model is too small for more, and a test's stages mostly wait for each other.
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
    const auto connect = [](Stage& stage) { return stage.connect(now() + std::chrono::minutes(1)); };
    for (absl::Status& status : at_the_same_time<absl::Status>(connect)) {
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // The last stage's result, or the first one with an error.
  StepResult execute(const BatchPlan& plan) {
    auto results = at_the_same_time<StepResult>([&](Stage& stage) { return stage.execute(plan); });
    for (StepResult& result : results) {
      if (!result.error.empty()) return std::move(result);
    }
    return std::move(results.back());
  }

 private:
  // What work(stage) gives of each, which may wait for its neighbours.
  template <typename Result>
  std::vector<Result> at_the_same_time(const std::function<Result(Stage&)>& work) {
    std::vector<std::future<Result>> later;
    for (size_t i = 0; i + 1 < stages_.size(); ++i) {
      later.push_back(std::async(std::launch::async, work, std::ref(*stages_[i])));
    }
    Result last = work(*stages_.back());
    std::vector<Result> results;
    for (std::future<Result>& result : later) results.push_back(result.get());
    results.push_back(std::move(last));
    return results;
  }

  static StageConfig with_weights(StageConfig config, const WeightOptions& weights) {
    config.weights = weights;
    return config;
  }

  std::vector<std::unique_ptr<Stage>> stages_;
  uint64_t epoch_ = 0;
};

}  // namespace octet::worker
