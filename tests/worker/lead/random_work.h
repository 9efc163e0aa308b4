// Random work on small caches against the oracle: whatever is submitted, cancelled, expired or reset, every
// sequence gets exactly its own tokens, ends exactly once, and leaves no block behind.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/worker/lead/harness.h"

namespace octet::worker {

// How often the rare things happened, over all runs.
struct Coverage {
  uint64_t preemptions = 0;
  uint64_t stopped = 0;
  uint64_t full_length = 0;
  uint64_t expired = 0;
  uint64_t failed = 0;
  uint64_t cancelled_in_flight = 0;
  uint64_t resets_in_flight = 0;
  uint64_t prompt_logprobs = 0;
  uint64_t cached_tokens = 0;
  uint64_t evictions = 0;
};

class RandomWork {
 public:
  // draw: a number below its argument, which decides everything.
  using Draw = std::function<uint32_t(uint32_t end)>;
  RandomWork(Draw draw, Coverage& coverage)
      : draw_(std::move(draw)), harness_(random_config()), coverage_(coverage) {}

  // Failures are GoogleTest's.
  void run(int num_actions) {
    for (int i = 0; i < num_actions; ++i) {
      act();
      if (::testing::Test::HasFailure()) return;
    }
    drain();
  }

 private:
  uint32_t below(uint32_t end) { return draw_(end); }
  uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }
  bool one_in(uint32_t n) { return below(n) == 0; }

  SchedulerConfig random_config() {
    SchedulerConfig c;
    c.block_size = between(1, 5);
    c.num_blocks = between(2, 30);
    c.max_batch_tokens = between(1, 24);
    c.max_running_sequences = between(1, 12);
    c.max_waiting_sequences = between(1, 20);
    c.max_model_len = between(3, 60);
    c.vocab_size = between(1, 40);
    c.max_micro_batches = between(1, 4);
    c.prefix_cache = !one_in(8);
    return c;
  }

  void act() {
    switch (below(8)) {
      case 0:
      case 1:
        submit();
        break;
      case 2:
        if (one_in(4)) cancel();
        break;
      case 3:
        harness_.now += std::chrono::milliseconds(below(5));
        expire();
        break;
      case 4:
        if (one_in(30)) reset();
        break;
      case 5:
        if (!harness_.results.empty()) commit();
        break;
      default:
        schedule();
    }
  }

  void submit() {
    const SchedulerConfig& c = harness_.config;
    NewSequence sequence;
    sequence.id = ++last_id_;
    sequence.prompt = beginning();
    for (uint32_t n = between(1, c.max_model_len - static_cast<uint32_t>(sequence.prompt.size())); n > 0;
         --n) {
      sequence.prompt.push_back(below(c.vocab_size));
    }
    if (one_in(3)) sequence.cache_salt = "a";
    sequence.max_tokens = between(1, 20);
    sequence.priority = static_cast<int32_t>(below(3)) - 1;
    if (one_in(2)) sequence.stop_token_ids = {below(c.vocab_size)};
    if (one_in(3)) sequence.sampling.prompt_logprobs = 0;
    if (one_in(4)) sequence.deadline = harness_.now + std::chrono::milliseconds(below(40));
    const std::vector<TokenId> output = expected_output(sequence, c);
    if (one_in(4) && !output.empty()) {
      sequence.generated.assign(output.begin(), output.begin() + below(static_cast<uint32_t>(output.size())));
    }
    if (harness_.scheduler.submit(sequence).has_value()) return;
    if (one_in(20)) {
      harness_.stage.poison(sequence.id);
      poisoned_.insert(sequence.id);
    }
    live_.insert(sequence.id);
    submitted_.emplace(sequence.id, std::move(sequence));
  }

  // Nothing, or what an earlier sequence has too: of its prompt, or a whole turn of it.
  std::vector<TokenId> beginning() {
    if (submitted_.empty() || one_in(3)) return {};
    const NewSequence& earlier =
        std::next(submitted_.begin(), below(static_cast<uint32_t>(submitted_.size())))->second;
    std::vector<TokenId> tokens = earlier.prompt;
    const std::vector<TokenId> output = expected_output(earlier, harness_.config);
    tokens.insert(tokens.end(), output.begin(), output.end());
    if (one_in(2)) tokens.resize(below(static_cast<uint32_t>(tokens.size()) + 1));
    tokens.resize(std::min<size_t>(tokens.size(), harness_.config.max_model_len - 1));
    return tokens;
  }

  void cancel() {
    if (live_.empty()) return;
    const auto chosen = std::next(live_.begin(), below(static_cast<uint32_t>(live_.size())));
    for (const StepResult& result : harness_.results) {
      coverage_.cancelled_in_flight += ids_in_flight_[result.step].contains(*chosen);
    }
    harness_.scheduler.cancel(*chosen);
    live_.erase(chosen);
  }

  void reset() {
    coverage_.resets_in_flight += !harness_.results.empty();
    harness_.reset();
  }

  void expire() {
    check_updates(harness_.expire());
    for (const SequenceId id : live_) ASSERT_GT(submitted_.at(id).deadline, harness_.now);
  }

  void schedule() {
    expire();
    const size_t num_in_flight = harness_.results.size();
    const std::optional<BatchPlan> plan = harness_.plan();
    if (!plan.has_value()) {
      // Progress: with work left and nothing in flight there is always a next step.
      ASSERT_TRUE(num_in_flight > 0 || live_.empty()) << "stuck with " << live_.size() << " sequences";
      return;
    }
    ASSERT_LT(num_in_flight, harness_.config.max_micro_batches);
    std::set<SequenceId>& ids = ids_in_flight_[harness_.results.back().step];
    ids.clear();
    check_salts(*plan);
    for (const SequenceChunk& chunk : plan->chunks) {
      ASSERT_TRUE(live_.contains(chunk.id)) << "plans sequence " << chunk.id << ", which has ended";
      for (const StepResult& result : harness_.results) {
        ASSERT_FALSE(ids_in_flight_[result.step].contains(chunk.id)) << "twice in flight: " << chunk.id;
      }
      ids.insert(chunk.id);
    }
  }

  // The stage knows no salts.
  void check_salts(const BatchPlan& plan) {
    for (const SequenceChunk& chunk : plan.chunks) {
      for (const BlockId block : chunk.new_blocks) salts_[block] = submitted_.at(chunk.id).cache_salt;
    }
    for (const AdmittedSequence& admitted : plan.admitted) {
      ASSERT_TRUE(admitted.cached_blocks.empty() || harness_.config.prefix_cache);
      for (const BlockId block : admitted.cached_blocks) {
        ASSERT_EQ(salts_.at(block), submitted_.at(admitted.id).cache_salt);
      }
    }
  }

  void commit() { check_updates(harness_.commit()); }

  void check_updates(const std::vector<SequenceUpdate>& updates) {
    for (const SequenceUpdate& update : updates) {
      ASSERT_TRUE(live_.contains(update.id)) << "news of sequence " << update.id << ", which has ended";
      const NewSequence& sequence = submitted_.at(update.id);
      const Received& received = harness_.received.at(update.id);
      check_tokens(sequence, received);
      check_prompt_logprobs(sequence, received);
      if (received.num_ends > 0) count_end(received);
      if (received.num_ends > 0) live_.erase(update.id);
    }
    check_stats();
  }

  void count_end(const Received& received) {
    coverage_.stopped += received.finish == FinishReason::kStop;
    coverage_.full_length += received.finish == FinishReason::kLength;
    coverage_.expired += received.finish == FinishReason::kDeadline;
    coverage_.failed += received.failure.has_value();
    coverage_.prompt_logprobs += received.prompt_logprobs.size();
  }

  // A prefix of the expected ones, or all of them when that is why it ended.
  void check_tokens(const NewSequence& sequence, const Received& received) {
    const std::vector<TokenId> expected = expected_output(sequence, harness_.config);
    std::vector<TokenId> output = sequence.generated;
    output.insert(output.end(), received.tokens.begin(), received.tokens.end());
    ASSERT_LE(output.size(), expected.size());
    ASSERT_TRUE(std::equal(output.begin(), output.end(), expected.begin())) << "sequence " << sequence.id;
    ASSERT_EQ(received.failure.has_value(), poisoned_.contains(sequence.id) && received.num_ends > 0 &&
                                                received.finish != FinishReason::kDeadline);
    if (received.finish == FinishReason::kDeadline) {
      ASSERT_LE(sequence.deadline, harness_.now);
    } else if (received.finish.has_value()) {
      ASSERT_EQ(output.size(), expected.size());
      ASSERT_EQ(received.finish, expected_finish(sequence, harness_.config));
    } else if (!received.failure.has_value()) {
      ASSERT_LT(output.size(), expected.size());
    }
  }

  // Each exactly once and in order; all of them by the time of the first token.
  void check_prompt_logprobs(const NewSequence& sequence, const Received& received) {
    const std::span<const TokenId> prompt(sequence.prompt);
    const std::vector<ScoredToken>& scored = received.prompt_logprobs;
    if (!sequence.sampling.prompt_logprobs.has_value()) {
      ASSERT_TRUE(scored.empty());
      return;
    }
    ASSERT_LT(scored.size(), prompt.size());
    for (size_t i = 0; i < scored.size(); ++i) {
      ASSERT_EQ(scored[i].token, prompt[i + 1]);
      ASSERT_EQ(scored[i].logprob, fake_logprob(prompt.first(i + 2)));
    }
    if (!received.tokens.empty()) {
      ASSERT_EQ(scored.size(), prompt.size() - 1);
    }
  }

  void check_stats() {
    const SchedulerStats stats = harness_.scheduler.stats();
    ASSERT_EQ(stats.running + stats.waiting, live_.size());
    ASSERT_LE(stats.running, harness_.config.max_running_sequences);
    ASSERT_LE(stats.running, harness_.config.max_batch_tokens * harness_.config.max_micro_batches);
    ASSERT_EQ(stats.micro_batches_in_flight, harness_.results.size());
    uint64_t num_prompt_tokens = 0;
    for (const SequenceId id : live_) num_prompt_tokens += submitted_.at(id).prompt.size();
    ASSERT_LE(stats.outstanding_prompt_tokens, num_prompt_tokens);
  }

  void drain() {
    for (int i = 0; i < 100000 && !(live_.empty() && harness_.results.empty()); ++i) {
      if (one_in(2)) schedule();
      if (one_in(2) && !harness_.results.empty()) commit();
      if (::testing::Test::HasFailure()) return;
    }
    ASSERT_TRUE(live_.empty()) << live_.size() << " sequences never ended";
    const SchedulerStats stats = harness_.scheduler.stats();
    EXPECT_EQ(stats.free_blocks, harness_.config.num_blocks);
    EXPECT_EQ(stats.running + stats.waiting, 0);
    EXPECT_EQ(stats.outstanding_prompt_tokens, 0);
    EXPECT_EQ(harness_.scheduler.next_deadline(), kNoDeadline);
    coverage_.preemptions += stats.preemptions;
    coverage_.cached_tokens += stats.prefix_hit_tokens;
    coverage_.evictions += stats.prefix_evictions;
  }

  const Draw draw_;
  Harness harness_;
  Coverage& coverage_;
  SequenceId last_id_ = 0;
  std::map<SequenceId, NewSequence> submitted_;
  std::set<SequenceId> live_;
  std::set<SequenceId> poisoned_;
  std::map<BlockId, std::string> salts_;                    // of the sequence that was given the block last
  std::map<uint64_t, std::set<SequenceId>> ids_in_flight_;  // by step, of this epoch
};

}  // namespace octet::worker
