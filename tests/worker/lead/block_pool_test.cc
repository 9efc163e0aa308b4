#include "worker/lead/block_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "base/prefix_hash.h"

namespace octet::worker {
namespace {

using ::testing::ElementsAre;

// Blocks of one token here, so a token is a content.
struct OneToken {
  explicit OneToken(TokenId token, ContentId after = 0) : token(token), parent(after) {}
  PrefixBlock block() const {
    return {.hash = prefix_hash(parent, std::span(&token, 1)),
            .parent = parent,
            .salt = "",
            .tokens = std::span(&token, 1)};
  }
  TokenId token;
  ContentId parent;
};

// The ids that the pool gives out when all of them are taken.
std::vector<BlockId> drain(BlockPool& pool) {
  std::vector<Block> held;
  std::vector<BlockId> ids;
  while (auto block = pool.allocate()) {
    ids.push_back(block->id());
    held.push_back(std::move(*block));
  }
  return ids;
}

TEST(BlockPool, GivesEveryBlockOnceAndThenNone) {
  BlockPool pool(5, 1);
  EXPECT_EQ(pool.num_blocks(), 5);
  EXPECT_THAT(drain(pool), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(pool.num_free(), 5);
}

TEST(BlockPool, TakesABlockBackWhenItsLastShareIsDestroyed) {
  BlockPool pool(2, 1);
  {
    const Block block = *pool.allocate();
    pool.keep(block, OneToken(7).block());
    {
      const Block share = pool.share(block.id());
      EXPECT_EQ(share.id(), block.id());
      EXPECT_EQ(pool.num_free(), 1);
    }
    EXPECT_TRUE(pool.is_held(block.id()));
    EXPECT_EQ(pool.num_free(), 1);
  }
  EXPECT_EQ(pool.num_free(), 2);
}

TEST(BlockPool, AShareIsGivenBackOnceHoweverOftenItMoves) {
  BlockPool pool(3, 1);
  {
    std::vector<Block> held;
    held.push_back(*pool.allocate());
    Block moved = std::move(held.front());
    held.front() = *pool.allocate();
    EXPECT_EQ(pool.num_free(), 1);
    held.front() = std::move(moved);
    EXPECT_EQ(pool.num_free(), 2);
    held.front() = std::move(held.front());
    EXPECT_EQ(pool.num_free(), 2);
  }
  EXPECT_EQ(pool.num_free(), 3);
}

TEST(BlockPool, FindsTheContentOfAFreeBlockAndHandsItOut) {
  BlockPool pool(2, 1);
  { pool.keep(*pool.allocate(), OneToken(7).block()); }
  const auto found = pool.find(OneToken(7).block());
  ASSERT_TRUE(found.has_value());
  EXPECT_FALSE(pool.is_held(found->block));
  const Block share = pool.share(found->block);
  EXPECT_EQ(pool.num_free(), 1);
  EXPECT_THAT(drain(pool), ElementsAre(1)) << "a held block is not given out";
  EXPECT_TRUE(pool.find(OneToken(7).block()).has_value());
}

TEST(BlockPool, GivesOutBlocksWithoutContentFirstAndThenThoseFreeTheLongest) {
  BlockPool pool(4, 1);
  {
    std::vector<Block> held;
    for (TokenId token = 0; token < 3; ++token) {
      held.push_back(*pool.allocate());
      pool.keep(held.back(), OneToken(token).block());
    }
    held.erase(held.begin() + 1);  // block 1 is free first, then 0 and 2
  }
  { const Block used_again = pool.share(1); }
  EXPECT_THAT(drain(pool), ElementsAre(3, 0, 2, 1));
  EXPECT_EQ(pool.num_evictions(), 3);
  for (TokenId token = 0; token < 3; ++token) EXPECT_FALSE(pool.find(OneToken(token).block()).has_value());
}

TEST(BlockPool, AForgottenContentIsNotFoundAndItsHoldersKeepTheBlock) {
  BlockPool pool(2, 1);
  {
    const Block block = *pool.allocate();
    pool.keep(block, OneToken(7).block());
    pool.forget(block);
    pool.forget(block);
    EXPECT_FALSE(pool.find(OneToken(7).block()).has_value());
    EXPECT_TRUE(pool.is_held(block.id()));
    EXPECT_EQ(pool.num_free(), 1);
  }
  EXPECT_EQ(pool.num_free(), 2);
  EXPECT_EQ(pool.num_evictions(), 0);
}

TEST(BlockPool, ClearForgetsAllContents) {
  BlockPool pool(3, 1);
  for (TokenId token = 0; token < 2; ++token) {
    const Block block = *pool.allocate();
    pool.keep(block, OneToken(token).block());
  }
  pool.clear();
  EXPECT_FALSE(pool.find(OneToken(0).block()).has_value());
  EXPECT_FALSE(pool.find(OneToken(1).block()).has_value());
  EXPECT_EQ(drain(pool).size(), 3);
  EXPECT_EQ(pool.num_evictions(), 0);
}

}  // namespace
}  // namespace octet::worker
