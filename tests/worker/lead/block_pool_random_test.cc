// Random operations on small pools against a model that is simple enough to be right: who holds what, what
// holds which content, and in which order the free ones are given out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "worker/lead/block_pool.h"

namespace octet::worker {
namespace {

// How often the rare things happened, over all runs.
struct Coverage {
  uint64_t evictions = 0;
  uint64_t shared_while_held = 0;
  uint64_t shared_while_free = 0;
  uint64_t equal_contents = 0;
  uint64_t collisions = 0;
  uint64_t exhausted = 0;
};

// A content in the model: the text of all that decides it.
using Text = std::string;

class RandomPool : public PrefixObserver {
 public:
  RandomPool(uint32_t seed, Coverage& coverage)
      : random_(seed), num_blocks_(1 + below(8)), pool_(num_blocks_, 1, this), coverage_(coverage) {
    for (uint32_t block = 0; block < num_blocks_; ++block) empty_.push_front(block);
  }

  void run() {
    for (int i = 0; i < 400 && !::testing::Test::HasFailure(); ++i) {
      act();
      check();
    }
    held_.clear();
    EXPECT_EQ(pool_.num_free(), num_blocks_) << "a block has leaked";
  }

  void on_added(uint64_t prefix) override { EXPECT_TRUE(observed_.insert(prefix).second); }
  void on_removed(uint64_t prefix) override { EXPECT_EQ(observed_.erase(prefix), 1); }
  void on_cleared() override { observed_.clear(); }

 private:
  uint32_t below(uint32_t end) { return static_cast<uint32_t>(random_() % end); }

  void act() {
    switch (below(12)) {
      case 0:
      case 1:
      case 2:
        return allocate();
      case 3:
      case 4:
        return keep();
      case 5:
      case 6:
        return find_and_share();
      case 7:
        return forget();
      case 8:
        if (below(10) == 0) clear();
        return;
      default:
        release();
    }
  }

  void allocate() {
    std::optional<Block> block = pool_.allocate();
    if (empty_.empty() && cached_.empty()) {
      ++coverage_.exhausted;
      ASSERT_FALSE(block.has_value());
      return;
    }
    ASSERT_TRUE(block.has_value());
    std::list<BlockId>& from = empty_.empty() ? cached_ : empty_;
    const BlockId expected = empty_.empty() ? from.front() : from.back();
    ASSERT_EQ(block->id(), expected);
    coverage_.evictions += empty_.empty();
    from.remove(expected);
    drop_content(expected);
    held_.push_back(std::move(*block));
  }

  void release() {
    if (held_.empty()) return;
    const auto chosen = held_.begin() + below(static_cast<uint32_t>(held_.size()));
    const BlockId block = chosen->id();
    held_.erase(chosen);
    if (num_shares(block) > 0) return;
    (contents_.contains(block) ? cached_ : empty_).push_back(block);
  }

  // A content after none or after one that was in the pool once, with a hash of which there are few.
  struct Drawn {
    TokenId token;
    ContentId parent;
    Text text;
    PrefixBlock block;
  };
  Drawn draw() {
    Drawn drawn{.token = below(4), .parent = 0, .text = "", .block = {}};
    if (!names_.empty() && below(2) == 0) {
      drawn.parent = std::next(names_.begin(), below(static_cast<uint32_t>(names_.size())))->first;
    }
    const std::string salt = below(2) == 0 ? "a" : "b";
    drawn.text =
        (drawn.parent == 0 ? salt : std::to_string(drawn.parent)) + "/" + std::to_string(drawn.token);
    drawn.block.hash = std::hash<Text>()(drawn.text) % 16;
    drawn.block.parent = drawn.parent;
    drawn.block.salt = drawn.parent == 0 && salt == "a" ? "a" : "b";
    return drawn;
  }

  void keep() {
    if (held_.empty()) return;
    const Block& block = held_[below(static_cast<uint32_t>(held_.size()))];
    if (contents_.contains(block.id())) return;
    Drawn drawn = draw();
    drawn.block.tokens = std::span(&drawn.token, 1);
    const std::optional<ContentId> content = pool_.keep(block, drawn.block);
    const auto same_hash = by_hash(drawn.block.hash);
    if (!same_hash) {
      ASSERT_TRUE(content.has_value());
      ASSERT_FALSE(names_.contains(*content)) << "a name is given twice";
      names_[*content] = drawn.text;
      contents_[block.id()] = {*content, drawn.block.hash};
    } else if (names_.at(contents_.at(*same_hash).name) == drawn.text) {
      ++coverage_.equal_contents;
      ASSERT_EQ(content, contents_.at(*same_hash).name);
    } else {
      ++coverage_.collisions;
      ASSERT_FALSE(content.has_value());
    }
  }

  void find_and_share() {
    Drawn drawn = draw();
    drawn.block.tokens = std::span(&drawn.token, 1);
    const std::optional<CachedBlock> found = pool_.find(drawn.block);
    const auto same_hash = by_hash(drawn.block.hash);
    const bool expected = same_hash && names_.at(contents_.at(*same_hash).name) == drawn.text;
    ASSERT_EQ(found.has_value(), expected);
    if (!expected) return;
    ASSERT_EQ(found->block, *same_hash);
    ASSERT_EQ(found->content, contents_.at(*same_hash).name);
    ++(num_shares(found->block) > 0 ? coverage_.shared_while_held : coverage_.shared_while_free);
    cached_.remove(found->block);
    held_.push_back(pool_.share(found->block));
  }

  void forget() {
    if (held_.empty()) return;
    const Block& block = held_[below(static_cast<uint32_t>(held_.size()))];
    pool_.forget(block);
    drop_content(block.id());
  }

  void clear() {
    while (!held_.empty()) release();
    pool_.clear();
    contents_.clear();
    empty_.splice(empty_.end(), cached_);
  }

  void drop_content(BlockId block) { contents_.erase(block); }

  std::optional<BlockId> by_hash(uint64_t hash) const {
    for (const auto& [block, content] : contents_) {
      if (content.hash == hash) return block;
    }
    return std::nullopt;
  }

  size_t num_shares(BlockId block) const {
    return static_cast<size_t>(
        std::ranges::count_if(held_, [&](const Block& share) { return share.id() == block; }));
  }

  void check() {
    ASSERT_EQ(pool_.num_free(), empty_.size() + cached_.size());
    for (BlockId block = 0; block < num_blocks_; ++block)
      ASSERT_EQ(pool_.is_held(block), num_shares(block) > 0);
    ASSERT_EQ(observed_.size(), contents_.size());
    for (const auto& [block, content] : contents_) ASSERT_TRUE(observed_.contains(content.hash));
  }

  struct Content {
    ContentId name;
    uint64_t hash;
  };
  std::mt19937 random_;
  const uint32_t num_blocks_;
  BlockPool pool_;
  Coverage& coverage_;
  std::vector<Block> held_;
  std::map<BlockId, Content> contents_;
  std::map<ContentId, Text> names_;  // all that were ever given
  std::list<BlockId> empty_;         // the last is given out first
  std::list<BlockId> cached_;        // the first is given out first
  std::set<uint64_t> observed_;
};

TEST(BlockPoolRandom, NoBlockLeaksAndNoContentIsMistaken) {
  Coverage coverage;
  for (uint32_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomPool(seed, coverage).run();
    if (HasFailure()) return;
  }
  EXPECT_GT(coverage.evictions, 1000);
  EXPECT_GT(coverage.shared_while_held, 1000);
  EXPECT_GT(coverage.shared_while_free, 1000);
  EXPECT_GT(coverage.equal_contents, 1000);
  EXPECT_GT(coverage.collisions, 1000);
  EXPECT_GT(coverage.exhausted, 1000);
}

}  // namespace
}  // namespace octet::worker
