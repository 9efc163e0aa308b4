#include "worker/lead/block_pool.h"

#include <numeric>
#include <utility>

#include "base/check.h"

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
  if (owner_ != nullptr) owner_->release(id_);
}

BlockPool::BlockPool(uint32_t num_blocks, uint32_t block_size, PrefixObserver* observer)
    : index_(num_blocks, block_size, observer),
      num_shares_(num_blocks),
      num_free_(num_blocks),
      empty_(num_blocks),
      cached_(size_t{num_blocks} + 1) {
  // Given out from the back, so that block 0 is first.
  std::iota(empty_.rbegin(), empty_.rend(), BlockId{0});
  cached_[num_blocks] = {num_blocks, num_blocks};
}

std::optional<Block> BlockPool::allocate() {
  if (num_free_ == 0) return std::nullopt;
  BlockId block = 0;
  if (!empty_.empty()) {
    block = empty_.back();
    empty_.pop_back();
  } else {
    block = cached_[num_blocks()].after;
    take_from_cached(block);
    index_.remove(block);
    ++num_evictions_;
  }
  num_shares_[block] = 1;
  --num_free_;
  return Block(this, block);
}

Block BlockPool::share(BlockId block) {
  OCTET_CHECK(index_.has_content(block), "block ", block);
  if (!is_held(block)) {
    take_from_cached(block);
    --num_free_;
  }
  ++num_shares_[block];
  return Block(this, block);
}

std::optional<ContentId> BlockPool::keep(const Block& block, const PrefixBlock& prefix) {
  return index_.add(block.id(), prefix);
}

void BlockPool::forget(const Block& block) {
  if (index_.has_content(block.id())) index_.remove(block.id());
}

void BlockPool::clear() {
  OCTET_CHECK(num_free_ == num_blocks(), num_free_, " of ", num_blocks());
  for (BlockId block; (block = cached_[num_blocks()].after) != num_blocks();) {
    take_from_cached(block);
    empty_.push_back(block);
  }
  index_.clear();
}

// Never allocates: `empty_` was made with room for every block.
void BlockPool::release(BlockId block) {
  if (--num_shares_[block] > 0) return;
  ++num_free_;
  if (index_.has_content(block)) {
    append_to_cached(block);
  } else {
    empty_.push_back(block);
  }
}

void BlockPool::append_to_cached(BlockId block) {
  Neighbours& ends = cached_[num_blocks()];
  cached_[block] = {ends.before, num_blocks()};
  cached_[ends.before].after = block;
  ends.before = block;
}

void BlockPool::take_from_cached(BlockId block) {
  const Neighbours& neighbours = cached_[block];
  cached_[neighbours.before].after = neighbours.after;
  cached_[neighbours.after].before = neighbours.before;
}

}  // namespace octet::worker
