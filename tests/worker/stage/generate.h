// Generates with a pipeline without the scheduler: a hand-driven loop whose batches, chunks, blocks and
// preemptions a test chooses.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/worker/stage/pipeline.h"

namespace octet::worker {

struct TestRequest {
  std::vector<TokenId> prompt;
  SamplingParams sampling;
  uint32_t max_tokens = 120;
};

// Greedy, with log-probabilities of prompt and output and five alternatives.
SamplingParams greedy_with_logprobs();

struct TestOutput {
  std::vector<ScoredToken> prompt_logprobs;  // of the prompt after its first token
  std::vector<ScoredToken> tokens;
};

enum class BlockOrder { kInOrder, kScrambled };

struct GenerateOptions {
  uint32_t chunk_size = 512;         // most prompt tokens of a sequence in one step
  uint32_t max_batch_tokens = 2048;  // rows of a step
  size_t max_running = SIZE_MAX;     // sequences at once
  BlockOrder block_order = BlockOrder::kInOrder;
  uint32_t preempt_every = 0;  // each sequence is admitted anew after this many tokens; 0: never
};

// Runs the requests in a new epoch until each has its end token (</s> or <extra_id_1>) or max_tokens.
std::vector<TestOutput> generate(Pipeline& pipeline, const std::vector<TestRequest>& requests,
                                 const GenerateOptions& options = {});

// The same tokens, and the same bits of every log-probability.
bool same_bits(const TestOutput& a, const TestOutput& b);

}  // namespace octet::worker
