// The scheduler with a real pipeline: a sequence's bits are the same whether its beginning was computed for
// it, for another sequence in an earlier plan, or for one in the same plan.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "tests/worker/stage/generate.h"
#include "tests/worker/stage/golden_cases.h"
#include "worker/lead/scheduler.h"

namespace octet::worker {
namespace {

SchedulerConfig scheduler_config(Pipeline& pipeline, uint32_t num_blocks) {
  SchedulerConfig config;
  config.num_blocks = num_blocks;
  config.max_batch_tokens = 40;
  config.max_micro_batches = 2;
  config.max_model_len = static_cast<uint32_t>(pipeline.stage(0).shape().model.max_model_len);
  config.vocab_size = static_cast<uint32_t>(pipeline.stage(0).shape().model.vocab_size);
  return config;
}

struct Outcome {
  std::map<SequenceId, TestOutput> outputs;
  SchedulerStats stats;
};

// Two plans in flight, a new sequence before every third plan; cancels those of `cancelled` after their first
// token.
Outcome run(Pipeline& pipeline, const SchedulerConfig& config, std::deque<NewSequence> sequences,
            const std::vector<SequenceId>& cancelled = {}) {
  EXPECT_TRUE(pipeline.start_epoch(config.num_blocks).ok());
  Scheduler scheduler(config);
  Outcome all;
  std::deque<StepResult> results;
  for (int i = 0;
       !sequences.empty() || !results.empty() || scheduler.stats().running + scheduler.stats().waiting > 0;
       ++i) {
    if (!sequences.empty() && i % 3 == 0) {
      EXPECT_FALSE(scheduler.submit(std::move(sequences.front())).has_value());
      sequences.pop_front();
    }
    while (const std::optional<BatchPlan> plan = scheduler.schedule(Time{}))
      results.push_back(pipeline.execute(*plan));
    if (results.empty()) continue;
    const CommitOutcome outcome = scheduler.commit(results.front());
    results.pop_front();
    EXPECT_FALSE(outcome.error.has_value()) << *outcome.error;
    if (outcome.error) break;
    for (const SequenceUpdate& update : outcome.updates) {
      TestOutput& output = all.outputs[update.id];
      output.tokens.insert(output.tokens.end(), update.tokens.begin(), update.tokens.end());
      output.prompt_logprobs.insert(output.prompt_logprobs.end(), update.prompt_logprobs.begin(),
                                    update.prompt_logprobs.end());
      for (const SequenceId id : cancelled) {
        if (id == update.id) scheduler.cancel(id);
      }
    }
  }
  all.stats = scheduler.stats();
  EXPECT_EQ(all.stats.free_blocks, config.num_blocks);
  return all;
}

// Few prompts, each by several sequences that choose differently, some with prompt log-probabilities.
std::deque<NewSequence> shared_prompts() {
  const std::vector<GoldenCase> cases = read_golden_cases();
  std::deque<NewSequence> sequences;
  for (SequenceId id = 1; id <= 24; ++id) {
    NewSequence s;
    s.id = id;
    // A system prompt of some blocks, then one of three questions, of which one ends with a block.
    for (size_t i = 0; s.prompt.size() < 70; ++i) {
      const std::vector<TokenId>& tokens = cases[i].prompt;
      s.prompt.insert(s.prompt.end(), tokens.begin(), tokens.end());
    }
    s.prompt.resize(70);
    const std::vector<TokenId>& question = cases[id % 3].prompt;
    s.prompt.insert(s.prompt.end(), question.begin(), question.end());
    if (id % 3 == 0) s.prompt.resize(80);
    s.sampling.temperature = id % 2 == 0 ? 0.0f : 1.0f;
    s.sampling.seed = id / 6;
    s.sampling.logprobs = 3;
    if (id % 4 == 3) s.sampling.prompt_logprobs = 2;
    s.max_tokens = 20 + static_cast<uint32_t>(id);
    sequences.push_back(std::move(s));
  }
  return sequences;
}

void expect_same(const Outcome& outcome, const Outcome& reference) {
  ASSERT_EQ(outcome.outputs.size(), reference.outputs.size());
  for (const auto& [id, output] : reference.outputs) {
    EXPECT_TRUE(same_bits(outcome.outputs.at(id), output)) << "sequence " << id;
  }
}

TEST(PrefixCache, AHitGivesTheBitsOfAMiss) {
  for (const int num_stages : {1, 2}) {
    SCOPED_TRACE(num_stages);
    Pipeline pipeline(num_stages, 1);
    SchedulerConfig config = scheduler_config(pipeline, 1000);
    config.prefix_cache = false;
    const Outcome reference = run(pipeline, config, shared_prompts());
    EXPECT_EQ(reference.stats.prefix_hit_tokens, 0);

    config.prefix_cache = true;
    const Outcome hits = run(pipeline, config, shared_prompts());
    EXPECT_GT(hits.stats.prefix_hit_tokens, 1000);
    expect_same(hits, reference);

    // A cache so small that sequences are preempted and contents make room.
    config.num_blocks = 24;
    config.max_model_len = 24 * config.block_size;
    const Outcome crowded = run(pipeline, config, shared_prompts());
    EXPECT_GT(crowded.stats.preemptions, 0);
    EXPECT_GT(crowded.stats.prefix_evictions, 0);
    EXPECT_GT(crowded.stats.prefix_hit_tokens, 100);
    expect_same(crowded, reference);
  }
}

TEST(PrefixCache, BlocksOfCancelledSequencesHoldWhatTheySay) {
  Pipeline pipeline(2, 1);
  SchedulerConfig config = scheduler_config(pipeline, 1000);
  config.prefix_cache = false;
  const Outcome reference = run(pipeline, config, shared_prompts());
  config.prefix_cache = true;
  const std::vector<SequenceId> cancelled = {1, 2, 3, 6, 11};
  Outcome hits = run(pipeline, config, shared_prompts(), cancelled);
  for (const SequenceId id : cancelled) hits.outputs[id] = reference.outputs.at(id);
  expect_same(hits, reference);
}

}  // namespace
}  // namespace octet::worker
