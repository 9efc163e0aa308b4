#include "worker/lead/sequence.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/prefix_hash.h"

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
      tokens_(std::move(sequence.prompt)),
      cache_salt_(std::move(sequence.cache_salt)) {
  tokens_.insert(tokens_.end(), sequence.generated.begin(), sequence.generated.end());
  std::sort(stop_token_ids_.begin(), stop_token_ids_.end());
}

Sequence::~Sequence() {
  free_blocks();
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

// The row before a prompt token has that token's log-probability.
uint32_t Sequence::max_cached_tokens() const {
  const bool scores_prompt = sampling_.prompt_logprobs && num_prompt_logprobs_ + 1 < num_prompt_tokens_;
  return scores_prompt ? num_prompt_logprobs_ : num_tokens() - 1;
}

PrefixBlock Sequence::prefix_block(uint32_t index, ContentId parent) {
  const auto tokens_of = [this](size_t i) {
    return std::span(tokens_).subspan(i * block_size_, block_size_);
  };
  for (size_t i = prefix_hashes_.size(); i <= index; ++i) {
    prefix_hashes_.push_back(
        prefix_hash(i == 0 ? prefix_root(cache_salt_) : prefix_hashes_[i - 1], tokens_of(i)));
  }
  return {.hash = prefix_hashes_[index], .parent = parent, .salt = cache_salt_, .tokens = tokens_of(index)};
}

std::vector<CachedBlock> Sequence::find_cached(const BlockPool& pool) {
  std::vector<CachedBlock> cached;
  const uint32_t max_blocks = max_cached_tokens() / block_size_;
  ContentId parent = 0;
  while (cached.size() < max_blocks) {
    const auto found = pool.find(prefix_block(static_cast<uint32_t>(cached.size()), parent));
    if (!found) break;
    cached.push_back(*found);
    parent = found->content;
  }
  return cached;
}

std::optional<uint64_t> Sequence::wanted_prefix(uint32_t num_blocks) {
  if (num_blocks >= max_cached_tokens() / block_size_) return std::nullopt;
  return prefix_block(num_blocks, 0).hash;
}

std::optional<uint64_t> Sequence::coming_prefix() {
  if (!is_prefilling() || !content_ || num_kept_blocks_ >= num_tokens() / block_size_) return std::nullopt;
  return prefix_block(num_kept_blocks_, 0).hash;
}

AdmittedSequence Sequence::admit(const std::vector<CachedBlock>& cached, BlockPool& pool) {
  OCTET_CHECK(phase_ == Phase::kWaiting && blocks_.empty() && num_computed_ == 0, "sequence ", id_);
  phase_ = Phase::kPrefill;
  AdmittedSequence admitted;
  admitted.id = id_;
  admitted.tokens = tokens_;
  admitted.num_prompt_tokens = num_prompt_tokens_;
  admitted.sampling = sampling_;
  for (const CachedBlock& block : cached) {
    blocks_.push_back(pool.share(block.block));
    admitted.cached_blocks.push_back(block.block);
    content_ = block.content;
  }
  num_planned_blocks_ = num_kept_blocks_ = num_blocks();
  num_computed_ = num_planned_ = num_blocks() * block_size_;
  if (!std::exchange(was_admitted_, true)) {
    num_unreported_cached_tokens_ = std::min(num_computed_, num_prompt_tokens_);
  }
  return admitted;
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
  num_planned_ = start + num_tokens;
  return chunk;
}

void Sequence::keep_full_blocks(BlockPool& pool) {
  for (; content_ && num_kept_blocks_ < num_planned_ / block_size_; ++num_kept_blocks_) {
    content_ = pool.keep(blocks_[num_kept_blocks_], prefix_block(num_kept_blocks_, *content_));
  }
}

void Sequence::forget_blocks(BlockPool& pool) {
  for (const Block& block : blocks_) pool.forget(block);
}

// From the end, so that the beginning of a prefix, without which the rest is of no use, is given out again
// last.
void Sequence::free_blocks() {
  while (!blocks_.empty()) blocks_.pop_back();
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
  free_blocks();
  num_planned_blocks_ = num_kept_blocks_ = 0;
  num_computed_ = num_planned_ = 0;
  content_ = 0;
  is_in_flight_ = false;
}

}  // namespace octet::worker
