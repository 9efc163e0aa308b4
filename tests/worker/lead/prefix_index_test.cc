#include "worker/lead/prefix_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace octet::worker {
namespace {

using ::testing::ElementsAre;
using Tokens = std::vector<TokenId>;

constexpr uint32_t kBlockSize = 2;

struct Log : PrefixObserver {
  void on_added(uint64_t prefix) override { lines.push_back("+" + std::to_string(prefix)); }
  void on_removed(uint64_t prefix) override { lines.push_back("-" + std::to_string(prefix)); }
  void on_cleared() override { lines.push_back("clear"); }
  std::vector<std::string> lines;
};

PrefixBlock prefix(uint64_t hash, ContentId parent, const Tokens& tokens, std::string_view salt = "") {
  return {.hash = hash, .parent = parent, .salt = salt, .tokens = tokens};
}

TEST(PrefixIndex, FindsWhatWasAdded) {
  PrefixIndex index(4, kBlockSize, nullptr);
  const Tokens first = {1, 2};
  const Tokens second = {3, 4};
  const auto parent = index.add(2, prefix(10, 0, first));
  ASSERT_TRUE(parent.has_value());
  const auto content = index.add(1, prefix(20, *parent, second));
  ASSERT_TRUE(content.has_value());
  EXPECT_EQ(index.find(prefix(10, 0, first))->block, 2);
  EXPECT_EQ(index.find(prefix(10, 0, first))->content, *parent);
  EXPECT_EQ(index.find(prefix(20, *parent, second))->block, 1);
  EXPECT_FALSE(index.find(prefix(30, 0, first)).has_value());
}

// What else could have the same hash.
TEST(PrefixIndex, FindsNothingByTheHashAlone) {
  PrefixIndex index(4, kBlockSize, nullptr);
  const Tokens tokens = {1, 2};
  const auto root = index.add(0, prefix(10, 0, tokens, "a"));
  const auto next = index.add(1, prefix(20, *root, tokens, "a"));
  EXPECT_FALSE(index.find(prefix(10, 0, Tokens{1, 3}, "a")).has_value()) << "other tokens";
  EXPECT_FALSE(index.find(prefix(10, 0, tokens, "b")).has_value()) << "another salt";
  EXPECT_FALSE(index.find(prefix(10, 0, tokens, "")).has_value()) << "no salt";
  EXPECT_FALSE(index.find(prefix(10, *next, tokens, "a")).has_value()) << "another parent";
  EXPECT_FALSE(index.find(prefix(20, 0, tokens, "a")).has_value()) << "no parent";
}

TEST(PrefixIndex, KeepsTheOlderOfTwoEqualContents) {
  PrefixIndex index(4, kBlockSize, nullptr);
  const Tokens tokens = {1, 2};
  const auto first = index.add(0, prefix(10, 0, tokens));
  EXPECT_EQ(index.add(1, prefix(10, 0, tokens)), first);
  EXPECT_FALSE(index.has_content(1));
  EXPECT_EQ(index.find(prefix(10, 0, tokens))->block, 0);
}

TEST(PrefixIndex, ADifferentContentOfTheSameHashIsNotAdded) {
  PrefixIndex index(4, kBlockSize, nullptr);
  index.add(0, prefix(10, 0, Tokens{1, 2}));
  EXPECT_FALSE(index.add(1, prefix(10, 0, Tokens{3, 4})).has_value());
  EXPECT_FALSE(index.has_content(1));
  EXPECT_FALSE(index.find(prefix(10, 0, Tokens{3, 4})).has_value());
}

TEST(PrefixIndex, AContentIsNotTakenForALaterOneOfItsBlock) {
  PrefixIndex index(4, kBlockSize, nullptr);
  const Tokens tokens = {1, 2};
  const auto before = index.add(0, prefix(10, 0, tokens));
  index.add(1, prefix(20, *before, tokens));
  index.remove(0);
  const auto after = index.add(0, prefix(10, 0, tokens));
  EXPECT_NE(after, before);
  EXPECT_FALSE(index.find(prefix(20, *after, tokens)).has_value()) << "it followed the one that is gone";
}

TEST(PrefixIndex, TellsItsObserverOfEveryChange) {
  Log log;
  PrefixIndex index(4, kBlockSize, &log);
  const Tokens tokens = {1, 2};
  const auto parent = index.add(0, prefix(10, 0, tokens));
  index.add(1, prefix(20, *parent, tokens));
  index.add(2, prefix(10, 0, tokens));
  index.remove(1);
  index.clear();
  EXPECT_THAT(log.lines, ElementsAre("+10", "+20", "-20", "clear"));
  EXPECT_FALSE(index.find(prefix(10, 0, tokens)).has_value());
}

}  // namespace
}  // namespace octet::worker
