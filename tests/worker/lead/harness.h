// A scheduler with a pipeline of one fake stage behind it: plans go in when they are made, results come back
// when the test commits them.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/worker/lead/fake_stage.h"
#include "worker/lead/scheduler.h"

namespace octet::worker {

// All that came back of one sequence.
struct Received {
  std::vector<TokenId> tokens;
  std::vector<ScoredToken> prompt_logprobs;
  std::optional<FinishReason> finish;
  std::optional<Refusal> failure;
  int num_ends = 0;
};

struct Harness {
  explicit Harness(const SchedulerConfig& c) : config(c), scheduler(c), stage(c) {}

  // A plan that the stage has computed and whose result waits; nothing when the scheduler has none.
  std::optional<BatchPlan> plan() {
    std::optional<BatchPlan> made = scheduler.schedule(now);
    if (made.has_value()) results.push_back(stage.execute(*made));
    EXPECT_TRUE(stage.errors().empty()) << stage.errors().front();
    return made;
  }

  std::vector<SequenceUpdate> commit() {
    CommitOutcome outcome = scheduler.commit(results.front());
    results.pop_front();
    EXPECT_FALSE(outcome.error.has_value()) << *outcome.error;
    receive(outcome.updates);
    return std::move(outcome.updates);
  }

  std::vector<SequenceUpdate> expire() {
    std::vector<SequenceUpdate> updates = scheduler.expire(now);
    receive(updates);
    return updates;
  }

  void receive(const std::vector<SequenceUpdate>& updates) {
    for (const SequenceUpdate& update : updates) {
      Received& r = received[update.id];
      EXPECT_EQ(r.num_ends, 0) << "news of sequence " << update.id << " after its end";
      for (const ScoredToken& token : update.tokens) r.tokens.push_back(token.token);
      r.prompt_logprobs.insert(r.prompt_logprobs.end(), update.prompt_logprobs.begin(),
                               update.prompt_logprobs.end());
      if (update.finish.has_value()) r.finish = update.finish;
      if (update.failure.has_value()) r.failure = update.failure;
      r.num_ends += update.finish.has_value() || update.failure.has_value();
    }
  }

  // Keeps max_micro_batches in flight until nothing is left to do. Returns the number of plans.
  int run_to_end() {
    int num_plans = 0;
    while (true) {
      while (plan().has_value()) ++num_plans;
      if (results.empty()) return num_plans;
      commit();
    }
  }

  // The epoch ends and another begins.
  void reset() {
    scheduler.reset();
    stage.reset();
    results.clear();
  }

  SchedulerConfig config;
  Scheduler scheduler;
  FakeStage stage;
  std::deque<StepResult> results;  // computed and not committed, oldest first
  std::map<SequenceId, Received> received;
  Time now{};
};

}  // namespace octet::worker
