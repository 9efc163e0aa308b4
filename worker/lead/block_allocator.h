// Which blocks of the KV cache are free. Deals in block numbers only: the memory behind them belongs to the
// stages.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "worker/batch/tokens.h"

namespace octet::worker {

class BlockAllocator;

// The right to one block; goes back to its allocator when it is destroyed. The allocator must outlive it.
class Block {
 public:
  Block(Block&& other) noexcept;
  Block& operator=(Block&& other) noexcept;
  ~Block();

  BlockId id() const { return id_; }

 private:
  friend class BlockAllocator;
  Block(BlockAllocator* owner, BlockId id) : owner_(owner), id_(id) {}
  void release();

  BlockAllocator* owner_;  // nullptr when moved from
  BlockId id_;
};

class BlockAllocator {
 public:
  explicit BlockAllocator(uint32_t num_blocks);
  BlockAllocator(const BlockAllocator&) = delete;
  BlockAllocator& operator=(const BlockAllocator&) = delete;

  // A block that no one else holds, or nothing when all are held.
  std::optional<Block> allocate();

  uint32_t num_blocks() const { return num_blocks_; }
  uint32_t num_free() const { return static_cast<uint32_t>(free_.size()); }

 private:
  friend class Block;

  uint32_t num_blocks_;
  std::vector<BlockId> free_;  // the last one freed is given out first
};

}  // namespace octet::worker
