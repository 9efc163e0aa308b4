#include "worker/stage/sequence_states.h"

#include <algorithm>
#include <span>

#include "absl/strings/str_cat.h"

namespace octet::worker {
namespace {

// Sequences that a stage remembers; a lead that admits without ever releasing is stopped here.
constexpr size_t kMaxSequences = 1 << 16;

absl::Status contradiction(SequenceId id, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("sequence ", id, ": ", what));
}

}  // namespace

void SequenceStates::reset(const PlanLimits& limits) {
  limits_ = limits;
  states_.clear();
}

absl::Status SequenceStates::release_and_admit(const BatchPlan& plan) {
  // The lead may release what it never admitted.
  for (const SequenceId id : plan.released) states_.erase(id);
  for (const AdmittedSequence& sequence : plan.admitted) {
    if (absl::Status status = check_admitted(sequence); !status.ok()) return status;
    SequenceState state;
    state.num_prompt_tokens = sequence.num_prompt_tokens;
    state.num_tokens = static_cast<uint32_t>(sequence.tokens.size());
    state.num_computed = static_cast<uint32_t>(sequence.cached_blocks.size()) * limits_.block_size;
    state.block_table.assign(sequence.cached_blocks.begin(), sequence.cached_blocks.end());
    if (constraints_ != nullptr) {
      state.sampler.emplace(sequence);
      if (sequence.sampling.constraint) state.constraint = begin_constraint(sequence);
    }
    states_.insert_or_assign(sequence.id, std::move(state));
  }
  if (states_.size() > kMaxSequences) {
    return absl::InvalidArgumentError(absl::StrCat(states_.size(), " sequences, limit ", kMaxSequences));
  }
  return absl::OkStatus();
}

SequenceConstraint SequenceStates::begin_constraint(const AdmittedSequence& sequence) const {
  const std::span<const TokenId> tokens(sequence.tokens);
  return constraints_->begin(*sequence.sampling.constraint, tokens.subspan(sequence.num_prompt_tokens));
}

absl::Status SequenceStates::check_admitted(const AdmittedSequence& sequence) const {
  const auto refuse = [&](absl::string_view what) { return contradiction(sequence.id, what); };
  const size_t num_tokens = sequence.tokens.size();
  if (num_tokens == 0 || num_tokens > limits_.max_model_len) {
    return refuse(
        absl::StrCat("admitted with ", num_tokens, " tokens, not in [1, ", limits_.max_model_len, "]"));
  }
  if (sequence.num_prompt_tokens == 0 || sequence.num_prompt_tokens > num_tokens) {
    return refuse(absl::StrCat(sequence.num_prompt_tokens, " of its ", num_tokens, " tokens are the prompt"));
  }
  for (const TokenId token : sequence.tokens) {
    if (token >= limits_.vocab_size)
      return refuse(absl::StrCat("token ", token, " is outside the vocabulary"));
  }
  if (sequence.cached_blocks.size() > (num_tokens - 1) / limits_.block_size) {
    return refuse(absl::StrCat(sequence.cached_blocks.size(), " cached blocks of ", limits_.block_size,
                               " tokens leave nothing of its ", num_tokens, " tokens to compute"));
  }
  if (absl::Status status = check_block_ids(sequence.id, sequence.cached_blocks); !status.ok()) return status;
  return check_sampling(sequence);
}

// The sampler takes these for granted.
absl::Status SequenceStates::check_sampling(const AdmittedSequence& sequence) const {
  const auto inside = [this](TokenId token) { return token < limits_.vocab_size; };
  const SamplingParams& sampling = sequence.sampling;
  const bool biases_inside = std::all_of(sampling.logit_bias.begin(), sampling.logit_bias.end(),
                                         [&](const auto& bias) { return inside(bias.first); });
  if (!biases_inside) return contradiction(sequence.id, "logit_bias has a token outside the vocabulary");
  const auto& suppressed = sampling.suppressed_before_min_tokens;
  if (!std::all_of(suppressed.begin(), suppressed.end(), inside)) {
    return contradiction(sequence.id, "suppressed_before_min_tokens has a token outside the vocabulary");
  }
  for (const auto& num_top : {sampling.logprobs, sampling.prompt_logprobs}) {
    if (num_top.value_or(0) > limits_.vocab_size) {
      return contradiction(sequence.id,
                           absl::StrCat("asks for ", *num_top, " alternatives, limit ", limits_.vocab_size));
    }
  }
  if (sampling.constraint &&
      !std::all_of(sampling.constraint->end_tokens.begin(), sampling.constraint->end_tokens.end(), inside)) {
    return contradiction(sequence.id, "its constraint has an end token outside the vocabulary");
  }
  for (const std::vector<TokenId>& word : sampling.bad_words) {
    if (word.empty() || !std::all_of(word.begin(), word.end(), inside)) {
      return contradiction(sequence.id, "bad_words has an empty word or a token outside the vocabulary");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SequenceState*> SequenceStates::advance(const SequenceChunk& chunk, uint64_t step) {
  const auto found = states_.find(chunk.id);
  if (found == states_.end()) return contradiction(chunk.id, "was not admitted");
  SequenceState& state = found->second;
  if (absl::Status status = check_chunk(chunk, state, step); !status.ok()) return status;
  if (absl::Status status = check_blocks(chunk, state); !status.ok()) return status;

  state.last_step = step;
  state.num_computed += static_cast<uint32_t>(chunk.tokens.size());
  if (chunk.samples) ++state.num_tokens;
  for (const BlockId block : chunk.new_blocks) state.block_table.push_back(static_cast<int32_t>(block));
  return &state;
}

absl::Status SequenceStates::check_chunk(const SequenceChunk& chunk, const SequenceState& state,
                                         uint64_t step) const {
  const auto refuse = [&](absl::string_view what) { return contradiction(chunk.id, what); };
  const size_t num_rows = chunk.tokens.size();
  if (state.last_step == step) return refuse("has two chunks in one plan");
  if (num_rows == 0) return refuse("its chunk has no tokens");
  if (chunk.start_position != state.num_computed) {
    return refuse(
        absl::StrCat("starts at position ", chunk.start_position, ", expected ", state.num_computed));
  }
  const size_t end = chunk.start_position + num_rows;
  if (end > state.num_tokens || end > limits_.max_model_len) {
    return refuse(absl::StrCat("its chunk ends at position ", end, ", past its ", state.num_tokens,
                               " tokens or the context of ", limits_.max_model_len));
  }
  if (chunk.samples && end != state.num_tokens) {
    return refuse(absl::StrCat("samples at position ", end, " of ", state.num_tokens, " tokens"));
  }
  for (const TokenId token : chunk.tokens) {
    if (token >= limits_.vocab_size)
      return refuse(absl::StrCat("token ", token, " is outside the vocabulary"));
  }
  // Row r predicts the prompt token at start_position + r + 1.
  if (chunk.first_prompt_logprob_row > chunk.end_prompt_logprob_row ||
      chunk.end_prompt_logprob_row > num_rows ||
      (chunk.end_prompt_logprob_row > chunk.first_prompt_logprob_row &&
       chunk.start_position + uint64_t{chunk.end_prompt_logprob_row} >= state.num_prompt_tokens)) {
    return refuse(absl::StrCat("log-probabilities of rows [", chunk.first_prompt_logprob_row, ", ",
                               chunk.end_prompt_logprob_row, ") of ", num_rows, " rows at position ",
                               chunk.start_position, " of a prompt of ", state.num_prompt_tokens));
  }
  return absl::OkStatus();
}

absl::Status SequenceStates::check_block_ids(SequenceId id, const std::vector<BlockId>& blocks) const {
  for (const BlockId block : blocks) {
    if (block >= limits_.num_blocks) {
      return contradiction(id, absl::StrCat("block ", block, " of ", limits_.num_blocks));
    }
  }
  return absl::OkStatus();
}

absl::Status SequenceStates::check_blocks(const SequenceChunk& chunk, const SequenceState& state) const {
  const auto blocks_for = [this](size_t num_tokens) {
    return (num_tokens + limits_.block_size - 1) / limits_.block_size;
  };
  if (absl::Status status = check_block_ids(chunk.id, chunk.new_blocks); !status.ok()) return status;
  const size_t num_blocks = state.block_table.size() + chunk.new_blocks.size();
  const size_t needed = blocks_for(chunk.start_position + chunk.tokens.size());
  const size_t limit = blocks_for(limits_.max_model_len);
  if (num_blocks < needed || num_blocks > limit) {
    return contradiction(chunk.id,
                         absl::StrCat("has ", num_blocks, " blocks, needs ", needed, ", limit ", limit));
  }
  return absl::OkStatus();
}

}  // namespace octet::worker
