#include "worker/lead/block_allocator.h"

#include <numeric>
#include <utility>

namespace octet::worker {

Block::Block(Block&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), id_(other.id_) {}

Block& Block::operator=(Block&& other) noexcept {
  if (this != &other) {
    release();
    owner_ = std::exchange(other.owner_, nullptr);
    id_ = other.id_;
  }
  return *this;
}

Block::~Block() {
  release();
}

void Block::release() {
  // Never allocates: the free list was made with room for every block.
  if (owner_ != nullptr) owner_->free_.push_back(id_);
}

BlockAllocator::BlockAllocator(uint32_t num_blocks) : num_blocks_(num_blocks), free_(num_blocks) {
  // Given out from the back, so that block 0 is first.
  std::iota(free_.rbegin(), free_.rend(), BlockId{0});
}

std::optional<Block> BlockAllocator::allocate() {
  if (free_.empty()) return std::nullopt;
  const BlockId id = free_.back();
  free_.pop_back();
  return Block(this, id);
}

}  // namespace octet::worker
