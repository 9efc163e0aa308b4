// The stages of a pipeline without processes or gRPC: clients for the engine, with the scheduler tests' fake
// model behind them. The test decides who joins, who answers and who is lost.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "tests/worker/lead/fake_stage.h"
#include "worker/engine/stage_client.h"

namespace octet::worker {

class FakePipeline {
 public:
  FakePipeline(int num_stages, const SchedulerConfig& config);

  // For the engine; the pipeline outlives it.
  StageClientFactory factory();

  // A stage answers its next join with this.
  void refuse_join(int stage, const absl::Status& status);
  // A stage answers nothing, joins and plans, until resume(), which gives what it withheld.
  void hold(int stage);
  // The same from this step of an epoch on.
  void hold_at_step(int stage, uint64_t step);
  void resume(int stage);
  // A stage's next answer to a plan is this error.
  void fail_next_step(int stage, const std::string& error);
  // The next answer of the last stage is changed.
  void tamper(std::function<void(StepResult&)> change);
  // A stage is lost in the epoch that is in force, or in another one.
  void lose(int stage);
  void lose(int stage, uint64_t epoch);
  // Answers a plan once more, as a message that was under way would.
  void answer_again(int stage, uint64_t epoch, const StepResult& result);

  // Waits for at most 30 s until this epoch is being joined, and fails the test then.
  void wait_for_epoch(uint64_t epoch);
  // The same until a stage withholds an answer to a plan.
  void wait_for_held_answer(int stage);
  std::vector<JoinCommand> joins(int stage) const;
  std::vector<std::string> errors() const;  // what the plans did that no correct one does
  int num_clients() const;                  // alive

 private:
  class Client;
  struct Answer {
    uint64_t epoch;
    std::variant<absl::Status, StepResult> content;  // of a join, of a plan
  };

  void on_join(int stage, const JoinCommand& command);
  void on_plan(int stage, uint64_t epoch, const BatchPlan& plan);
  void send(int stage, Answer answer);  // or withholds it
  StepResult compute(int stage, const BatchPlan& plan);

  const int num_stages_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<StageEvents> events_;
  FakeStage last_stage_;
  uint64_t epoch_ = 0;
  int num_clients_ = 0;
  std::map<int, std::vector<JoinCommand>> joins_;
  std::map<int, absl::Status> refused_joins_;
  std::set<int> held_;
  std::map<int, uint64_t> hold_at_;
  std::map<int, std::deque<Answer>> withheld_;
  std::map<int, std::string> failures_;
  std::function<void(StepResult&)> tamper_;
  std::vector<std::string> errors_;
};

// What a stage of a fake pipeline registers with.
Registration fake_registration(int stage, int num_stages, const SchedulerConfig& config);

}  // namespace octet::worker
