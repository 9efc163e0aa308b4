#include "worker/lead/block_allocator.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace octet::worker {
namespace {

TEST(BlockAllocator, GivesEveryBlockOnceAndThenNone) {
  BlockAllocator allocator(5);
  std::vector<Block> held;
  std::set<BlockId> ids;
  while (auto block = allocator.allocate()) {
    ids.insert(block->id());
    held.push_back(std::move(*block));
  }
  EXPECT_EQ(held.size(), 5);
  EXPECT_EQ(ids, (std::set<BlockId>{0, 1, 2, 3, 4}));
  EXPECT_EQ(allocator.num_free(), 0);
  EXPECT_EQ(allocator.num_blocks(), 5);
}

TEST(BlockAllocator, TakesABlockBackWhenItsHandleIsDestroyed) {
  BlockAllocator allocator(1);
  {
    const auto block = allocator.allocate();
    EXPECT_EQ(allocator.num_free(), 0);
  }
  EXPECT_EQ(allocator.num_free(), 1);
  EXPECT_EQ(allocator.allocate()->id(), 0);
}

TEST(BlockAllocator, ABlockIsFreedOnceHoweverOftenItsHandleMoves) {
  BlockAllocator allocator(3);
  {
    std::vector<Block> held;
    held.push_back(*allocator.allocate());
    Block moved = std::move(held.front());
    held.front() = *allocator.allocate();
    EXPECT_EQ(allocator.num_free(), 1);
    held.front() = std::move(moved);
    EXPECT_EQ(allocator.num_free(), 2);
    held.front() = std::move(held.front());
    EXPECT_EQ(allocator.num_free(), 2);
  }
  EXPECT_EQ(allocator.num_free(), 3);
}

}  // namespace
}  // namespace octet::worker
