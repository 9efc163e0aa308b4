#include "tests/worker/engine/fake_pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace octet::worker {

class FakePipeline::Client : public StageClient {
 public:
  Client(FakePipeline& pipeline, int stage) : pipeline_(pipeline), stage_(stage) {
    const std::lock_guard lock(pipeline_.mutex_);
    ++pipeline_.num_clients_;
  }
  ~Client() override {
    const std::lock_guard lock(pipeline_.mutex_);
    --pipeline_.num_clients_;
  }
  void join(const JoinCommand& command) override {
    epoch_ = command.epoch;
    pipeline_.on_join(stage_, command);
  }
  void execute(std::shared_ptr<const BatchPlan> plan) override { pipeline_.on_plan(stage_, epoch_, *plan); }

 private:
  FakePipeline& pipeline_;
  const int stage_;
  uint64_t epoch_ = 0;
};

FakePipeline::FakePipeline(int num_stages, const SchedulerConfig& config)
    : num_stages_(num_stages), last_stage_(config) {}

StageClientFactory FakePipeline::factory() {
  return [this](const Registration& registration, std::shared_ptr<StageEvents> events) {
    {
      const std::lock_guard lock(mutex_);
      events_ = std::move(events);
    }
    return std::make_unique<Client>(*this, registration.description.stage);
  };
}

void FakePipeline::on_join(int stage, const JoinCommand& command) {
  const std::lock_guard lock(mutex_);
  if (command.epoch != epoch_) last_stage_.reset();
  epoch_ = command.epoch;
  joins_[stage].push_back(command);
  const auto refused = refused_joins_.find(stage);
  const absl::Status status = refused == refused_joins_.end() ? absl::OkStatus() : refused->second;
  refused_joins_.erase(stage);
  send(stage, {command.epoch, status});
  changed_.notify_all();
}

void FakePipeline::on_plan(int stage, uint64_t epoch, const BatchPlan& plan) {
  const std::lock_guard lock(mutex_);
  if (epoch != epoch_) return;
  const auto hold_at = hold_at_.find(stage);
  if (hold_at != hold_at_.end() && plan.step >= hold_at->second) {
    held_.insert(stage);
    hold_at_.erase(hold_at);
  }
  StepResult result = compute(stage, plan);
  const auto failure = failures_.find(stage);
  if (failure != failures_.end()) result.error = failure->second;
  failures_.erase(stage);
  if (stage == num_stages_ - 1 && tamper_) std::exchange(tamper_, nullptr)(result);
  send(stage, {epoch, std::move(result)});
  changed_.notify_all();
}

StepResult FakePipeline::compute(int stage, const BatchPlan& plan) {
  StepResult result;
  result.step = plan.step;
  result.timing.compute_ns = 1000;
  if (stage != num_stages_ - 1) return result;
  if (plan.step == 0) {  // the warm-up
    if (plan.chunks.size() != 1 || plan.chunks[0].tokens.size() != 1)
      errors_.push_back("warm-up is not one token");
    result.samples.push_back({plan.chunks[0].id, ScoredToken{}, {}, false});
    return result;
  }
  BatchPlan rest = plan;
  if (plan.step == 1 && std::erase(rest.released, SequenceId{0}) != 1) {
    errors_.push_back("step 1 does not release the warm-up's sequence");
  }
  result = last_stage_.execute(rest);
  errors_.insert(errors_.end(), last_stage_.errors().begin(), last_stage_.errors().end());
  return result;
}

void FakePipeline::send(int stage, Answer answer) {
  if (held_.contains(stage)) {
    withheld_[stage].push_back(std::move(answer));
  } else if (const auto* status = std::get_if<absl::Status>(&answer.content)) {
    events_->on_joined(stage, answer.epoch, *status);
  } else {
    events_->on_result(stage, answer.epoch, std::get<StepResult>(std::move(answer.content)));
  }
}

void FakePipeline::refuse_join(int stage, const absl::Status& status) {
  const std::lock_guard lock(mutex_);
  refused_joins_[stage] = status;
}

void FakePipeline::hold(int stage) {
  const std::lock_guard lock(mutex_);
  held_.insert(stage);
}

void FakePipeline::hold_at_step(int stage, uint64_t step) {
  const std::lock_guard lock(mutex_);
  hold_at_[stage] = step;
}

void FakePipeline::resume(int stage) {
  const std::lock_guard lock(mutex_);
  held_.erase(stage);
  for (Answer& answer : std::exchange(withheld_[stage], {})) send(stage, std::move(answer));
}

void FakePipeline::fail_next_step(int stage, const std::string& error) {
  const std::lock_guard lock(mutex_);
  failures_[stage] = error;
}

void FakePipeline::tamper(std::function<void(StepResult&)> change) {
  const std::lock_guard lock(mutex_);
  tamper_ = std::move(change);
}

void FakePipeline::lose(int stage) {
  const std::lock_guard lock(mutex_);
  events_->on_lost(stage, epoch_, absl::UnavailableError("connection reset"));
}

void FakePipeline::lose(int stage, uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  events_->on_lost(stage, epoch, absl::UnavailableError("connection reset"));
}

void FakePipeline::answer_again(int stage, uint64_t epoch, const StepResult& result) {
  const std::lock_guard lock(mutex_);
  events_->on_result(stage, epoch, result);
}

void FakePipeline::wait_for_epoch(uint64_t epoch) {
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(30), [&] { return epoch_ >= epoch; }))
      << "waited in vain for epoch " << epoch << ", last was " << epoch_;
}

void FakePipeline::wait_for_held_answer(int stage) {
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(30), [&] {
    const auto& answers = withheld_[stage];
    return std::any_of(answers.begin(), answers.end(), [](const Answer& answer) {
      return std::holds_alternative<StepResult>(answer.content);
    });
  })) << "waited in vain for a plan";
}

std::vector<JoinCommand> FakePipeline::joins(int stage) const {
  const std::lock_guard lock(mutex_);
  const auto found = joins_.find(stage);
  return found == joins_.end() ? std::vector<JoinCommand>() : found->second;
}

std::vector<std::string> FakePipeline::errors() const {
  const std::lock_guard lock(mutex_);
  return errors_;
}

int FakePipeline::num_clients() const {
  const std::lock_guard lock(mutex_);
  return num_clients_;
}

Registration fake_registration(int stage, int num_stages, const SchedulerConfig& config) {
  Registration registration;
  registration.description.stage = stage;
  registration.description.num_stages = num_stages;
  registration.description.layers = {stage * 2, stage * 2 + 2};
  registration.description.num_blocks = config.num_blocks;
  registration.description.block_size = config.block_size;
  registration.description.max_batch_tokens = config.max_batch_tokens;
  registration.description.model_digest = "digest";
  registration.description.backend = "fake";
  registration.stage_address = "stage-" + std::to_string(stage) + ":1";
  registration.link_address = "stage-" + std::to_string(stage) + ":2";
  return registration;
}

}  // namespace octet::worker
