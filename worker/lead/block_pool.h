// The blocks of the KV cache: who holds which, and what content those keep that nobody holds. Deals in block
// numbers only: the memory behind them belongs to the stages.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "worker/batch/tokens.h"
#include "worker/lead/prefix_index.h"

namespace octet::worker {

class BlockPool;

// A share in one block, which is free when its last share is destroyed. The pool must outlive it.
class Block {
 public:
  Block(Block&& other) noexcept;
  Block& operator=(Block&& other) noexcept;
  ~Block();

  BlockId id() const { return id_; }

 private:
  friend class BlockPool;
  Block(BlockPool* owner, BlockId id) : owner_(owner), id_(id) {}
  void release();

  BlockPool* owner_;  // nullptr when moved from
  BlockId id_;
};

class BlockPool {
 public:
  // observer: hears of every change of contents; null for none.
  BlockPool(uint32_t num_blocks, uint32_t block_size, PrefixObserver* observer = nullptr);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // A block that no one else holds, without content: one that has none, or else the one that has been free
  // for the longest time, whose content is forgotten. Nothing when all are held.
  std::optional<Block> allocate();

  // The block that holds exactly this content, held or not.
  std::optional<CachedBlock> find(const PrefixBlock& prefix) const { return index_.find(prefix); }
  // One more share of a block that has content.
  Block share(BlockId block);
  // The block keeps this content, also when nobody holds it, until it is given out again. See
  // PrefixIndex::add().
  std::optional<ContentId> keep(const Block& block, const PrefixBlock& prefix);
  // Nobody new finds the block's content, if it has any.
  void forget(const Block& block);
  // Forgets all contents. Nobody may hold a block.
  void clear();

  bool is_held(BlockId block) const { return num_shares_[block] > 0; }
  uint32_t num_blocks() const { return static_cast<uint32_t>(num_shares_.size()); }
  // Blocks that nobody holds, with content or without.
  uint32_t num_free() const { return num_free_; }
  // Contents forgotten because their block was given out again.
  uint64_t num_evictions() const { return num_evictions_; }

 private:
  friend class Block;
  struct Neighbours {
    BlockId before = 0;
    BlockId after = 0;
  };
  void release(BlockId block);
  void append_to_cached(BlockId block);
  void take_from_cached(BlockId block);

  PrefixIndex index_;
  std::vector<uint32_t> num_shares_;  // [num_blocks]
  uint32_t num_free_;
  std::vector<BlockId> empty_;  // free and without content; the last one freed is given out first
  // The free blocks with content, as a ring in the order in which they became free, which is opened by the
  // entry after the last block's. So that releasing a block never allocates. [num_blocks + 1]
  std::vector<Neighbours> cached_;
  uint64_t num_evictions_ = 0;
};

}  // namespace octet::worker
