#include "tools/bench/model/stage_driver.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"

namespace octet::bench {

using worker::BatchPlan;
using worker::SequenceChunk;
using worker::StepResult;

namespace {

constexpr uint64_t kFirstToken = 300;

}  // namespace

struct StageDriver::Sequence {
  worker::SequenceId id = 0;
  std::vector<worker::TokenId> tokens;  // prompt, then output
  uint32_t num_computed = 0;
  uint32_t num_blocks = 0;
};

worker::TokenId token_at(uint64_t sequence, uint64_t position, uint32_t vocab_size) {
  return static_cast<worker::TokenId>(kFirstToken +
                                      (sequence * 7919 + position * 104729) % (vocab_size - kFirstToken));
}

absl::Status StageDriver::start(uint32_t num_sequences, uint32_t num_tokens) {
  const worker::StageShape& shape = stage_.shape();
  const uint32_t block_size = stage_.config().block_size;
  if (std::cmp_less_equal(shape.model.vocab_size, kFirstToken)) {
    return absl::InvalidArgumentError(absl::StrCat("the vocabulary must be above ", kFirstToken));
  }
  if (std::cmp_greater(num_tokens, shape.model.max_model_len)) {
    return absl::InvalidArgumentError(
        absl::StrCat(num_tokens, " tokens of a sequence are more than ", shape.model.max_model_len));
  }
  const uint64_t blocks = uint64_t{num_sequences} * ((num_tokens + block_size - 1) / block_size);
  if (blocks > shape.num_blocks) {
    return absl::InvalidArgumentError(absl::StrCat("--kv-cache-mib: ", num_sequences, " sequences of ",
                                                   num_tokens, " tokens need ", blocks, " blocks, it holds ",
                                                   shape.num_blocks));
  }
  step_ = 0;
  num_blocks_ = 0;
  return stage_.start_epoch(++epoch_, {}, shape.num_blocks);
}

// The sequence's next rows, with blocks for them.
SequenceChunk StageDriver::next_chunk(Sequence& sequence, uint32_t num_rows) {
  SequenceChunk chunk;
  chunk.id = sequence.id;
  chunk.start_position = sequence.num_computed;
  const auto begin = sequence.tokens.begin() + sequence.num_computed;
  chunk.tokens.assign(begin, begin + num_rows);
  sequence.num_computed += num_rows;
  while (sequence.num_blocks * stage_.config().block_size < sequence.num_computed) {
    chunk.new_blocks.push_back(num_blocks_++);
    ++sequence.num_blocks;
  }
  chunk.samples = sequence.num_computed == sequence.tokens.size();
  return chunk;
}

absl::StatusOr<StepResult> StageDriver::execute(BatchPlan plan) {
  plan.step = ++step_;
  StepResult result = stage_.execute(plan);
  if (!result.error.empty()) return absl::InternalError(result.error);
  for (const worker::SequenceSample& sample : result.samples) {
    if (sample.not_finite) return absl::DataLossError("the logits are not finite");
  }
  return result;
}

absl::Status StageDriver::prefill(std::vector<Sequence>& sequences, uint32_t num_prompt_tokens) {
  size_t next = 0;
  while (next < sequences.size()) {
    BatchPlan plan;
    uint32_t budget = stage_.config().max_batch_tokens;
    std::vector<size_t> sampled;
    while (budget > 0 && next < sequences.size()) {
      Sequence& sequence = sequences[next];
      if (sequence.num_computed == 0) {
        worker::AdmittedSequence admitted;
        admitted.id = sequence.id;
        admitted.tokens = sequence.tokens;
        admitted.num_prompt_tokens = num_prompt_tokens;
        admitted.sampling.temperature = 0;
        plan.admitted.push_back(std::move(admitted));
      }
      const uint32_t num_rows = std::min(budget, num_prompt_tokens - sequence.num_computed);
      plan.chunks.push_back(next_chunk(sequence, num_rows));
      budget -= num_rows;
      if (plan.chunks.back().samples) sampled.push_back(next++);
    }
    const absl::StatusOr<StepResult> result = execute(std::move(plan));
    if (!result.ok()) return result.status();
    for (size_t i = 0; i < sampled.size(); ++i) {
      sequences[sampled[i]].tokens.push_back(result->samples.at(i).token.value().token);
    }
  }
  return absl::OkStatus();
}

absl::Status StageDriver::decode(std::vector<Sequence>& sequences) {
  BatchPlan plan;
  for (Sequence& sequence : sequences) plan.chunks.push_back(next_chunk(sequence, 1));
  const absl::StatusOr<StepResult> result = execute(std::move(plan));
  if (!result.ok()) return result.status();
  for (size_t i = 0; i < sequences.size(); ++i) {
    sequences[i].tokens.push_back(result->samples.at(i).token.value().token);
  }
  return absl::OkStatus();
}

absl::StatusOr<GenerateTimes> StageDriver::generate(const GenerateCase& run) {
  absl::Status status = start(run.num_sequences, run.num_prompt_tokens + run.num_steps);
  if (!status.ok()) return status;
  std::vector<Sequence> sequences(run.num_sequences);
  for (uint32_t s = 0; s < run.num_sequences; ++s) {
    sequences[s].id = s + 1;
    for (uint32_t i = 0; i < run.num_prompt_tokens; ++i) {
      sequences[s].tokens.push_back(token_at(s, i, static_cast<uint32_t>(stage_.shape().model.vocab_size)));
    }
  }
  GenerateTimes times;
  const Time began = now();
  status = prefill(sequences, run.num_prompt_tokens);
  if (!status.ok()) return status;
  times.prefill_seconds = seconds(now() - began);
  for (uint32_t step = 0; step < run.num_steps; ++step) {
    const Time step_began = now();
    status = decode(sequences);
    if (!status.ok()) return status;
    const double step_seconds = seconds(now() - step_began);
    times.decode_seconds += step_seconds;
    if (step == 0 || step_seconds < times.least_step_seconds) times.least_step_seconds = step_seconds;
  }
  return times;
}

absl::StatusOr<std::vector<float>> StageDriver::logprobs(uint32_t num_rows) {
  absl::Status status = start(1, num_rows + 1);
  if (!status.ok()) return status;
  const auto vocab_size = static_cast<uint32_t>(stage_.shape().model.vocab_size);
  Sequence sequence;
  sequence.id = 1;
  // A row is scored by the prompt token after it, so the prompt is one longer.
  for (uint32_t i = 0; i <= num_rows; ++i) sequence.tokens.push_back(token_at(0, i, vocab_size));
  worker::AdmittedSequence admitted;
  admitted.id = sequence.id;
  admitted.tokens = sequence.tokens;
  admitted.num_prompt_tokens = num_rows + 1;
  admitted.sampling.prompt_logprobs = vocab_size;
  BatchPlan plan;
  plan.admitted.push_back(std::move(admitted));
  plan.chunks.push_back(next_chunk(sequence, num_rows));
  plan.chunks.back().end_prompt_logprob_row = num_rows;
  const absl::StatusOr<StepResult> result = execute(std::move(plan));
  if (!result.ok()) return result.status();
  const std::vector<worker::ScoredToken>& scored = result->samples.at(0).prompt_logprobs;
  std::vector<float> values(size_t{num_rows} * vocab_size);
  for (uint32_t row = 0; row < num_rows; ++row) {
    for (uint32_t i = 0; i < vocab_size; ++i) {
      values[size_t{row} * vocab_size + scored[row].top_tokens[i]] = scored[row].top_logprobs[i];
    }
  }
  return values;
}

}  // namespace octet::bench
