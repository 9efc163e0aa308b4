// An engine with a fake pipeline and fake routers.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <memory>
#include <vector>

#include "tests/worker/engine/fake_pipeline.h"
#include "tests/worker/engine/fake_subscriber.h"
#include "worker/engine/engine.h"

namespace octet::worker {

inline SchedulerConfig small_scheduler() {
  SchedulerConfig config;
  config.num_blocks = 64;
  config.block_size = 4;
  config.max_batch_tokens = 32;
  config.max_running_sequences = 16;
  config.max_waiting_sequences = 64;
  config.max_model_len = 128;
  config.vocab_size = 1000;
  config.max_micro_batches = 2;
  return config;
}

inline NewSequence new_sequence(std::vector<TokenId> prompt, uint32_t max_tokens) {
  NewSequence sequence;
  sequence.prompt = std::move(prompt);
  sequence.max_tokens = max_tokens;
  return sequence;
}

struct EngineHarness {
  explicit EngineHarness(
      int stages = 1, Duration step_timeout = std::chrono::seconds(60),
      Duration join_timeout = std::chrono::seconds(60),
      std::function<void(PipelineState)> on_state_change = [](PipelineState) {})
      : num_stages(stages), pipeline(stages, config), metrics(all_stages(stages)) {
    Engine::Config engine_config;
    engine_config.scheduler = config;
    engine_config.step_timeout = step_timeout;
    engine_config.join_timeout = join_timeout;
    std::vector<LayerRange> layers;
    for (int i = 0; i < stages; ++i) layers.push_back({i * 2, i * 2 + 2});
    Formation::Options options;
    options.registration_lifetime = std::chrono::hours(1);  // a test registers once
    options.min_retry = std::chrono::milliseconds(1);
    engine = std::make_unique<Engine>(
        engine_config, Formation(fake_registration(0, stages, config).description, layers, options),
        pipeline.factory(), metrics);
    engine->start(std::move(on_state_change));
  }
  ~EngineHarness() {
    engine->stop();
    EXPECT_TRUE(pipeline.errors().empty()) << pipeline.errors().front();
    EXPECT_EQ(pipeline.num_clients(), 0);
  }

  static std::vector<int> all_stages(int count) {
    std::vector<int> stages;
    for (int i = 0; i < count; ++i) stages.push_back(i);
    return stages;
  }

  absl::StatusOr<uint64_t> register_stage(const Registration& registration) {
    std::promise<absl::StatusOr<uint64_t>> answer;
    engine->register_stage(registration,
                           [&](const absl::StatusOr<uint64_t>& epoch) { answer.set_value(epoch); });
    return answer.get_future().get();
  }

  void register_all() {
    for (int stage = 1; stage < num_stages; ++stage) {
      const auto epoch = register_stage(fake_registration(stage, num_stages, config));
      EXPECT_TRUE(epoch.ok()) << epoch.status();
    }
  }

  // Polls the status, which another thread makes true, for at most 30 s.
  template <typename Predicate>
  void wait_for(const char* what, Predicate predicate) {
    const Time deadline = now() + std::chrono::seconds(30);
    while (!predicate(engine->status())) {
      if (now() > deadline) {
        ADD_FAILURE() << "waited in vain for " << what;
        return;
      }
      std::this_thread::yield();
    }
  }

  void wait_until_ready() {
    wait_for("readiness", [](const EngineStatus& status) { return status.state == PipelineState::kReady; });
  }

  void wait_until_blocks_are_free() {
    wait_for("free blocks", [](const EngineStatus& status) {
      return status.num_sequences == 0 && status.scheduler.total_blocks > 0 &&
             status.scheduler.free_blocks == status.scheduler.total_blocks;
    });
  }

  // The tokens that the model gives to the sequence alone.
  std::vector<TokenId> expected(const NewSequence& sequence) const {
    return expected_output(sequence, config);
  }

  const int num_stages;
  const SchedulerConfig config = small_scheduler();
  FakePipeline pipeline;
  WorkerMetrics metrics;
  std::unique_ptr<Engine> engine;
};

}  // namespace octet::worker
