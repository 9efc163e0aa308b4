#include "tests/worker/stage/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

namespace octet::worker {
namespace {

constexpr TokenId kEndOfSequence = 3;
constexpr TokenId kEndOfTurn = 5;  // <extra_id_1>
constexpr uint32_t kNumBlocks = 1024;

// Hands out block ids, in order or in an order that is the same in every run.
class Blocks {
 public:
  explicit Blocks(BlockOrder order) : free_(kNumBlocks) {
    std::iota(free_.rbegin(), free_.rend(), 0);
    if (order == BlockOrder::kScrambled) std::shuffle(free_.begin(), free_.end(), std::mt19937(5));
  }
  BlockId take() {
    EXPECT_FALSE(free_.empty());
    const BlockId block = free_.back();
    free_.pop_back();
    return block;
  }
  void give_back(const std::vector<BlockId>& blocks) {
    free_.insert(free_.begin(), blocks.begin(), blocks.end());
  }

 private:
  std::vector<BlockId> free_;
};

// One request on its way.
struct Running {
  size_t index = 0;
  SequenceId id = 0;
  const TestRequest* request = nullptr;
  TestOutput* output = nullptr;
  std::vector<TokenId> tokens;
  std::vector<BlockId> blocks;
  uint32_t num_computed = 0;
  bool admitted = false;
  bool finished = false;

  bool prefilling() const { return num_computed + 1 < tokens.size(); }
};

class Loop {
 public:
  Loop(Pipeline& pipeline, const std::vector<TestRequest>& requests, const GenerateOptions& options)
      : pipeline_(pipeline),
        requests_(requests),
        options_(options),
        blocks_(options.block_order),
        outputs_(requests.size()) {}

  std::vector<TestOutput> run() {
    EXPECT_TRUE(pipeline_.start_epoch(kNumBlocks).ok());
    while (next_request_ < requests_.size() || !running_.empty()) {
      start_requests();
      const BatchPlan plan = make_plan();
      const StepResult result = pipeline_.execute(plan);
      EXPECT_EQ(result.error, "");
      EXPECT_EQ(result.step, plan.step);
      if (!result.error.empty() || !commit(plan, result)) break;
    }
    return std::move(outputs_);
  }

 private:
  void start_requests() {
    while (running_.size() < options_.max_running && next_request_ < requests_.size()) {
      Running sequence;
      sequence.id = 100 + next_request_;
      sequence.request = &requests_[next_request_];
      sequence.output = &outputs_[next_request_];
      sequence.tokens = sequence.request->prompt;
      running_.push_back(std::move(sequence));
      ++next_request_;
    }
  }

  BatchPlan make_plan() {
    BatchPlan plan;
    plan.step = ++step_;
    plan.released = std::exchange(released_, {});
    uint32_t budget = options_.max_batch_tokens;
    for (Running& sequence : running_) {
      if (budget == 0) break;
      if (!sequence.admitted) admit(sequence, plan);
      plan.chunks.push_back(make_chunk(sequence, budget));
      budget -= static_cast<uint32_t>(plan.chunks.back().tokens.size());
    }
    return plan;
  }

  static void admit(Running& sequence, BatchPlan& plan) {
    AdmittedSequence admitted;
    admitted.id = sequence.id;
    admitted.tokens = sequence.tokens;
    admitted.num_prompt_tokens = static_cast<uint32_t>(sequence.request->prompt.size());
    admitted.sampling = sequence.request->sampling;
    plan.admitted.push_back(std::move(admitted));
    sequence.admitted = true;
  }

  SequenceChunk make_chunk(Running& sequence, uint32_t budget) {
    const auto num_tokens = static_cast<uint32_t>(sequence.tokens.size());
    const uint32_t num_rows = std::min({num_tokens - sequence.num_computed, options_.chunk_size, budget});
    SequenceChunk chunk;
    chunk.id = sequence.id;
    chunk.start_position = sequence.num_computed;
    const uint32_t end = chunk.start_position + num_rows;
    chunk.tokens.assign(sequence.tokens.begin() + chunk.start_position, sequence.tokens.begin() + end);
    while (sequence.blocks.size() * 16 < end) {
      chunk.new_blocks.push_back(blocks_.take());
      sequence.blocks.push_back(chunk.new_blocks.back());
    }
    chunk.samples = end == num_tokens;
    if (sequence.request->sampling.prompt_logprobs) {
      // Those not yet reported: the token after the last reported one is at position reported + 1.
      const auto first = static_cast<uint32_t>(sequence.output->prompt_logprobs.size());
      const auto last = static_cast<uint32_t>(sequence.request->prompt.size()) - 1;
      if (first >= chunk.start_position && first < std::min(end, last)) {
        chunk.first_prompt_logprob_row = first - chunk.start_position;
        chunk.end_prompt_logprob_row = std::min(end, last) - chunk.start_position;
      }
    }
    return chunk;
  }

  // Whether the result fits the plan.
  bool commit(const BatchPlan& plan, const StepResult& result) {
    auto sample = result.samples.begin();
    for (size_t i = 0; i < plan.chunks.size(); ++i) {
      const SequenceChunk& chunk = plan.chunks[i];
      Running& sequence = running_[i];
      sequence.num_computed += static_cast<uint32_t>(chunk.tokens.size());
      const uint32_t num_logprobs = chunk.end_prompt_logprob_row - chunk.first_prompt_logprob_row;
      if (!chunk.samples && num_logprobs == 0) continue;
      const bool fits = sample != result.samples.end() && sample->id == chunk.id && !sample->not_finite &&
                        sample->token.has_value() == chunk.samples &&
                        sample->prompt_logprobs.size() == num_logprobs;
      EXPECT_TRUE(fits) << "step " << plan.step << ", chunk " << i;
      if (!fits) return false;
      for (const ScoredToken& token : sample->prompt_logprobs)
        sequence.output->prompt_logprobs.push_back(token);
      if (sample->token) add_token(sequence, *sample->token);
      ++sample;
    }
    EXPECT_TRUE(sample == result.samples.end());
    std::erase_if(running_, [](const Running& sequence) { return sequence.finished; });
    return true;
  }

  void add_token(Running& sequence, const ScoredToken& token) {
    sequence.tokens.push_back(token.token);
    sequence.output->tokens.push_back(token);
    const auto num_generated = static_cast<uint32_t>(sequence.output->tokens.size());
    if (token.token == kEndOfSequence || token.token == kEndOfTurn ||
        num_generated == sequence.request->max_tokens) {
      sequence.finished = true;
      released_.push_back(sequence.id);
      blocks_.give_back(sequence.blocks);
    } else if (options_.preempt_every > 0 && num_generated % options_.preempt_every == 0) {
      sequence.admitted = false;
      sequence.num_computed = 0;
      blocks_.give_back(std::exchange(sequence.blocks, {}));
    }
  }

  Pipeline& pipeline_;
  const std::vector<TestRequest>& requests_;
  const GenerateOptions& options_;
  Blocks blocks_;
  std::vector<TestOutput> outputs_;
  std::vector<Running> running_;
  std::vector<SequenceId> released_;
  size_t next_request_ = 0;
  uint64_t step_ = 0;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

bool same_bits(const std::vector<ScoredToken>& a, const std::vector<ScoredToken>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const ScoredToken& x, const ScoredToken& y) {
    return x.token == y.token && same_bits(std::vector{x.logprob}, std::vector{y.logprob}) &&
           x.top_tokens == y.top_tokens && same_bits(x.top_logprobs, y.top_logprobs);
  });
}

}  // namespace

SamplingParams greedy_with_logprobs() {
  SamplingParams sampling;
  sampling.temperature = 0;
  sampling.logprobs = 5;
  sampling.prompt_logprobs = 5;
  return sampling;
}

std::vector<TestOutput> generate(Pipeline& pipeline, const std::vector<TestRequest>& requests,
                                 const GenerateOptions& options) {
  return Loop(pipeline, requests, options).run();
}

bool same_bits(const TestOutput& a, const TestOutput& b) {
  return same_bits(a.prompt_logprobs, b.prompt_logprobs) && same_bits(a.tokens, b.tokens);
}

}  // namespace octet::worker
