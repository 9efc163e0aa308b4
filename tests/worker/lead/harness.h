// A scheduler with a pipeline of one fake stage behind it: plans go in when they are made, results come back
// when the test commits them.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
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

// Enough of everything.
inline SchedulerConfig roomy() {
  SchedulerConfig config;
  config.num_blocks = 1000;
  config.block_size = 4;
  config.max_batch_tokens = 16;
  config.max_model_len = 500;
  config.vocab_size = 1000;
  return config;
}

inline NewSequence sequence(SequenceId id, uint32_t num_prompt_tokens, uint32_t max_tokens = 100) {
  NewSequence s;
  s.id = id;
  const auto first = static_cast<TokenId>(id * 31);
  for (uint32_t i = 0; i < num_prompt_tokens; ++i) s.prompt.push_back((first + i) % 1000);
  s.max_tokens = max_tokens;
  return s;
}

// (id, rows) of each chunk.
inline std::vector<std::pair<SequenceId, size_t>> rows_of(const std::optional<BatchPlan>& plan) {
  std::vector<std::pair<SequenceId, size_t>> rows;
  if (!plan.has_value()) return rows;
  for (const SequenceChunk& chunk : plan->chunks) rows.emplace_back(chunk.id, chunk.tokens.size());
  return rows;
}

inline std::vector<SequenceId> admitted_in(const BatchPlan& plan) {
  std::vector<SequenceId> ids;
  for (const AdmittedSequence& s : plan.admitted) ids.push_back(s.id);
  return ids;
}

inline void submit(Harness& h, NewSequence s) {
  const std::optional<Refusal> refusal = h.scheduler.submit(std::move(s));
  ASSERT_FALSE(refusal.has_value()) << refusal->message;
}

// Plans and commits one micro-batch.
inline std::vector<std::pair<SequenceId, size_t>> step(Harness& h) {
  const auto rows = rows_of(h.plan());
  if (!rows.empty()) h.commit();
  return rows;
}

}  // namespace octet::worker
