#include "worker/lead/sequence.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace octet::worker {

Sequence::Sequence(NewSequence sequence, uint64_t arrival, uint32_t block_size)
    : id_(sequence.id),
      seniority_{.priority = sequence.priority, .arrival = arrival},
      deadline_(sequence.deadline),
      block_size_(block_size),
      sampling_(std::move(sequence.sampling)),
      stop_token_ids_(std::move(sequence.stop_token_ids)),
      max_tokens_(sequence.max_tokens),
      num_prompt_tokens_(static_cast<uint32_t>(sequence.prompt.size())),
      tokens_(std::move(sequence.prompt)) {
  tokens_.insert(tokens_.end(), sequence.generated.begin(), sequence.generated.end());
  std::sort(stop_token_ids_.begin(), stop_token_ids_.end());
}

uint32_t Sequence::num_pending_prompt_tokens() const {
  return num_prompt_tokens_ - std::min(num_computed_, num_prompt_tokens_);
}

uint32_t Sequence::num_blocks_for(uint32_t num_tokens) const {
  return num_tokens / block_size_ + (num_tokens % block_size_ == 0 ? 0 : 1);
}

uint32_t Sequence::num_missing_blocks() const {
  return num_blocks_for(num_tokens() + 1) - num_blocks();
}

uint32_t Sequence::num_pending_with_slots() const {
  const uint64_t num_slots = uint64_t{num_blocks()} * block_size_;
  return static_cast<uint32_t>(std::min<uint64_t>(num_tokens(), num_slots)) - num_computed_;
}

AdmittedSequence Sequence::admit() {
  OCTET_CHECK(phase_ == Phase::kWaiting && blocks_.empty() && num_computed_ == 0, "sequence ", id_);
  phase_ = Phase::kPrefill;
  return {.id = id_, .tokens = tokens_, .num_prompt_tokens = num_prompt_tokens_, .sampling = sampling_};
}

SequenceChunk Sequence::plan_chunk(uint32_t num_tokens, uint64_t step) {
  OCTET_CHECK(is_running() && !is_in_flight(), "sequence ", id_);
  OCTET_CHECK(num_tokens >= 1 && num_tokens <= num_pending_with_slots(), "sequence ", id_, ", ", num_tokens,
              " tokens");
  const uint32_t start = num_computed_;
  SequenceChunk chunk;
  chunk.id = id_;
  chunk.start_position = start;
  chunk.tokens.assign(tokens_.begin() + start, tokens_.begin() + start + num_tokens);
  for (; num_planned_blocks_ < blocks_.size(); ++num_planned_blocks_) {
    chunk.new_blocks.push_back(blocks_[num_planned_blocks_].id());
  }
  chunk.samples = start + num_tokens == this->num_tokens();
  // Row r predicts the prompt's token at start + r + 1; those up to num_prompt_logprobs_ were reported before
  // a preemption.
  if (sampling_.prompt_logprobs.has_value() && start + 1 < num_prompt_tokens_) {
    const uint32_t end = std::min(num_tokens, num_prompt_tokens_ - 1 - start);
    chunk.end_prompt_logprob_row = end;
    chunk.first_prompt_logprob_row =
        std::min(end, num_prompt_logprobs_ - std::min(num_prompt_logprobs_, start));
  }
  is_in_flight_ = true;
  last_planned_step_ = step;
  return chunk;
}

void Sequence::commit_chunk(uint32_t num_tokens, uint32_t num_prompt_logprobs) {
  OCTET_CHECK(is_in_flight(), "sequence ", id_);
  is_in_flight_ = false;
  num_computed_ += num_tokens;
  num_prompt_logprobs_ += num_prompt_logprobs;
}

std::optional<FinishReason> Sequence::append(TokenId token, uint32_t max_model_len) {
  OCTET_CHECK(num_pending() == 0, "sequence ", id_, " has ", num_pending(), " tokens to compute");
  phase_ = Phase::kDecode;
  tokens_.push_back(token);
  if (std::binary_search(stop_token_ids_.begin(), stop_token_ids_.end(), token)) return FinishReason::kStop;
  if (num_tokens() - num_prompt_tokens_ >= max_tokens_ || num_tokens() >= max_model_len) {
    return FinishReason::kLength;
  }
  return std::nullopt;
}

void Sequence::withdraw() {
  phase_ = Phase::kWaiting;
  blocks_.clear();
  num_planned_blocks_ = 0;
  num_computed_ = 0;
  is_in_flight_ = false;
}

}  // namespace octet::worker
