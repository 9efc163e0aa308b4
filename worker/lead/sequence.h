// One sequence in the scheduler: its tokens, how many of them the stages have computed, the blocks they lie
// in and when it ends. Says what could be computed next; which sequence computes when is the scheduler's
// decision.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "worker/batch/batch_plan.h"
#include "worker/lead/block_pool.h"
#include "worker/lead/scheduler_types.h"

namespace octet::worker {

// Who comes first: the smaller is the more senior.
struct Seniority {
  int32_t priority = 0;
  uint64_t arrival = 0;

  auto operator<=>(const Seniority&) const = default;
};

// A sequence waits, without blocks and unknown to the stages; admitted, it prefills all its tokens, in
// chunks, and then decodes one token at a time, until it ends or is preempted, which is to wait again.
class Sequence {
 public:
  Sequence(NewSequence sequence, uint64_t arrival, uint32_t block_size);
  ~Sequence();

  SequenceId id() const { return id_; }
  Seniority seniority() const { return seniority_; }
  Time deadline() const { return deadline_; }
  bool is_overdue(Time now) const { return deadline_ <= now; }

  uint32_t num_tokens() const { return static_cast<uint32_t>(tokens_.size()); }
  uint32_t num_pending() const { return num_tokens() - num_computed_; }
  uint32_t num_pending_prompt_tokens() const;

  bool is_running() const { return phase_ != Phase::kWaiting; }
  bool is_prefilling() const { return phase_ == Phase::kPrefill; }
  bool is_decoding() const { return phase_ == Phase::kDecode; }
  bool is_in_flight() const { return is_in_flight_; }
  // The last step with a chunk of it, since it was admitted.
  uint64_t last_planned_step() const { return last_planned_step_; }

  // Blocks held, and still needed for all tokens and one more.
  uint32_t num_blocks() const { return static_cast<uint32_t>(blocks_.size()); }
  uint32_t num_missing_blocks() const;
  // Pending tokens that the blocks held have slots for.
  uint32_t num_pending_with_slots() const;
  void add_block(Block block) { blocks_.push_back(std::move(block)); }

  // The blocks with its beginning that it could do without computing: full ones, and not all of its tokens,
  // since the last one's logits are sampled; none with prompt log-probabilities that are still to be
  // reported.
  std::vector<CachedBlock> find_cached(const BlockPool& pool);
  // The name of the block after its first num_blocks, when it is one that it could share.
  std::optional<uint64_t> wanted_prefix(uint32_t num_blocks);
  // The name of the next block that it will fill while it prefills, and that others find then.
  std::optional<uint64_t> coming_prefix();
  // Enters the running ones with a share in those blocks: what the stages have to know of it.
  AdmittedSequence admit(const std::vector<CachedBlock>& cached, BlockPool& pool);
  // Its next num_tokens pending tokens, from 1 to num_pending_with_slots(), go into the plan of `step`.
  SequenceChunk plan_chunk(uint32_t num_tokens, uint64_t step);
  // Others find the blocks that are full once the chunk that was planned last is computed.
  void keep_full_blocks(BlockPool& pool);
  // Nobody finds any of its blocks again.
  void forget_blocks(BlockPool& pool);
  // The chunk that was planned last is computed.
  void commit_chunk(uint32_t num_tokens, uint32_t num_prompt_logprobs);
  // Appends a token that was sampled; the reason when it is the last one.
  std::optional<FinishReason> append(TokenId token, uint32_t max_model_len);
  // Back to waiting: frees the blocks. Void if it was in flight.
  void withdraw();

  // Prompt tokens that its first admission found; the second call gives 0.
  uint32_t take_num_cached_tokens() { return std::exchange(num_unreported_cached_tokens_, 0); }
  uint32_t num_prompt_tokens() const { return num_prompt_tokens_; }
  bool was_admitted() const { return was_admitted_; }

 private:
  enum class Phase { kWaiting, kPrefill, kDecode };

  uint32_t num_blocks_for(uint32_t num_tokens) const;
  uint32_t max_cached_tokens() const;
  PrefixBlock prefix_block(uint32_t index, ContentId parent);
  void free_blocks();

  SequenceId id_;
  Seniority seniority_;
  Time deadline_;
  uint32_t block_size_;
  SamplingParams sampling_;
  std::vector<TokenId> stop_token_ids_;  // rising
  uint32_t max_tokens_;
  uint32_t num_prompt_tokens_;
  std::vector<TokenId> tokens_;  // prompt and output
  std::string cache_salt_;
  std::vector<uint64_t> prefix_hashes_;  // of the first full blocks, as many as were needed

  Phase phase_ = Phase::kWaiting;
  std::vector<Block> blocks_;             // the block table
  uint32_t num_planned_blocks_ = 0;       // of the table, those that the stages were told
  uint32_t num_computed_ = 0;             // tokens whose keys and values are in the cache
  uint32_t num_planned_ = 0;              // those, and the tokens in flight
  uint32_t num_kept_blocks_ = 0;          // of the table, those that others find, or find the like of
  std::optional<ContentId> content_ = 0;  // of these together; nothing: no further block can be found
  uint32_t num_prompt_logprobs_ = 0;      // reported, of the tokens at positions [1, num_prompt_logprobs_]
  bool is_in_flight_ = false;
  uint64_t last_planned_step_ = 0;
  bool was_admitted_ = false;
  uint32_t num_unreported_cached_tokens_ = 0;
};

}  // namespace octet::worker
