#include "worker/stage/batch_input.h"

#include "absl/strings/str_cat.h"

namespace octet::worker {
namespace {

absl::Status check_num_rows(const BatchPlan& plan, uint32_t max_batch_tokens) {
  size_t num_rows = 0;
  for (const SequenceChunk& chunk : plan.chunks) num_rows += chunk.tokens.size();
  if (num_rows <= max_batch_tokens) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the plan has ", num_rows, " rows, limit ", max_batch_tokens));
}

void add_rows(const SequenceChunk& chunk, const SequenceState& state, uint32_t block_size,
              ModelInput& model) {
  kernels::AttentionChunk attention;
  attention.first_row = static_cast<int32_t>(model.num_rows());
  attention.num_rows = static_cast<int32_t>(chunk.tokens.size());
  attention.start_position = static_cast<int32_t>(chunk.start_position);
  attention.block_table = state.block_table;
  model.chunks.push_back(attention);

  uint32_t position = chunk.start_position;
  for (const TokenId token : chunk.tokens) {
    const int32_t block = state.block_table[position / block_size];
    model.tokens.push_back(static_cast<int32_t>(token));
    model.positions.push_back(static_cast<int32_t>(position));
    model.slots.push_back(block * static_cast<int32_t>(block_size) +
                          static_cast<int32_t>(position % block_size));
    ++position;
  }
}

void add_logit_rows(const SequenceChunk& chunk, size_t chunk_index, int32_t first_row, BatchInput& input) {
  const auto add = [&](uint32_t row, LogitUse use) {
    input.model.logit_rows.push_back(first_row + static_cast<int32_t>(row));
    input.logit_rows.push_back({use, chunk.start_position + row + 1, chunk_index});
  };
  for (uint32_t row = chunk.first_prompt_logprob_row; row < chunk.end_prompt_logprob_row; ++row) {
    add(row, LogitUse::kPromptLogprob);
  }
  if (chunk.samples) add(static_cast<uint32_t>(chunk.tokens.size()) - 1, LogitUse::kSample);
}

void clear(BatchInput& input) {
  input.model.tokens.clear();
  input.model.positions.clear();
  input.model.slots.clear();
  input.model.chunks.clear();
  input.model.logit_rows.clear();
  input.logit_rows.clear();
  input.sequences.clear();
}

}  // namespace

absl::Status make_batch_input(const BatchPlan& plan, SequenceStates& states, BatchInput& input) {
  clear(input);
  const PlanLimits& limits = states.limits();
  if (absl::Status status = check_num_rows(plan, limits.max_batch_tokens); !status.ok()) return status;
  if (absl::Status status = states.release_and_admit(plan); !status.ok()) return status;
  for (size_t i = 0; i < plan.chunks.size(); ++i) {
    const SequenceChunk& chunk = plan.chunks[i];
    const auto state = states.advance(chunk, plan.step);
    if (!state.ok()) return state.status();
    const auto first_row = static_cast<int32_t>(input.model.num_rows());
    add_rows(chunk, **state, limits.block_size, input.model);
    add_logit_rows(chunk, i, first_row, input);
    input.sequences.push_back(*state);
  }
  return absl::OkStatus();
}

}  // namespace octet::worker
