#include "router/tokenizer/word_cache.h"

#include <gtest/gtest.h>

#include <string>

namespace octet::router {
namespace {

using Ids = std::vector<uint32_t>;

TEST(WordCacheTest, AppendsTheIdsOfAKnownWord) {
  WordCache words;
  words.keep("one", Ids{7, 8});
  words.keep("none", Ids{});
  Ids ids = {1};
  EXPECT_FALSE(words.find("two", ids));
  EXPECT_FALSE(words.find("", ids));
  EXPECT_TRUE(words.find("one", ids));
  EXPECT_TRUE(words.find("none", ids));
  EXPECT_EQ(ids, (Ids{1, 7, 8}));
}

TEST(WordCacheTest, KeepsWordsUpToItsLimits) {
  WordCache words;
  Ids ids;
  words.keep(std::string(27, 'a'), Ids(8, 5));
  EXPECT_TRUE(words.find(std::string(27, 'a'), ids));
  EXPECT_EQ(ids, Ids(8, 5));
  words.keep(std::string(28, 'a'), Ids{5});
  EXPECT_FALSE(words.find(std::string(28, 'a'), ids));
  words.keep("b", Ids(9, 5));
  EXPECT_FALSE(words.find("b", ids));
}

// More words than slots: each is either unknown or what was kept for it.
TEST(WordCacheTest, NeverGivesTheIdsOfAnotherWord) {
  WordCache words;
  constexpr uint32_t kNumWords = 50'000;
  for (uint32_t i = 0; i < kNumWords; ++i) words.keep("word" + std::to_string(i), Ids{i, i + 1});
  uint32_t num_known = 0;
  for (uint32_t i = 0; i < kNumWords; ++i) {
    Ids ids;
    if (!words.find("word" + std::to_string(i), ids)) continue;
    ++num_known;
    ASSERT_EQ(ids, (Ids{i, i + 1}));
  }
  EXPECT_GT(num_known, 4000u);
}

}  // namespace
}  // namespace octet::router
