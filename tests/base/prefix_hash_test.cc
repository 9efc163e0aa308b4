#include "base/prefix_hash.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <string>

namespace octet {
namespace {

using ::testing::ElementsAre;
using Tokens = std::vector<uint32_t>;

Tokens counting(uint32_t first, size_t count) {
  Tokens tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// Leads and routers of different builds must agree.
TEST(PrefixHash, IsTheSameInEveryBuild) {
  EXPECT_THAT(prefix_hashes("", Tokens{3, 1, 4, 1, 5}, 2),
              ElementsAre(0x5CB58B2DC5965600, 0x6C591EB54355AA4A));
  EXPECT_THAT(prefix_hashes("tenant", Tokens{3, 1}, 2), ElementsAre(0x14BFC8EC25139BEA));
  EXPECT_THAT(prefix_hashes("", Tokens{255999, 4294967295}, 1),
              ElementsAre(0x4E70014C30DA422C, 0x48A3300F3A2D7B0A));
}

TEST(PrefixHash, NamesFullBlocksOnly) {
  EXPECT_TRUE(prefix_hashes("", {}, 16).empty());
  EXPECT_TRUE(prefix_hashes("", counting(0, 15), 16).empty());
  EXPECT_EQ(prefix_hashes("", counting(0, 16), 16).size(), 1);
  EXPECT_EQ(prefix_hashes("", counting(0, 47), 16).size(), 2);
}

TEST(PrefixHash, ALongerPromptKeepsTheNamesOfItsBeginning) {
  const std::vector<uint64_t> shorter = prefix_hashes("s", counting(7, 64), 16);
  std::vector<uint64_t> longer = prefix_hashes("s", counting(7, 100), 16);
  longer.resize(shorter.size());
  EXPECT_EQ(longer, shorter);
  EXPECT_EQ(shorter[1], prefix_hash(shorter[0], counting(7 + 16, 16)));
  EXPECT_EQ(shorter[0], prefix_hash(prefix_root("s"), counting(7, 16)));
}

// Salt, position, order, length and every token count.
TEST(PrefixHash, NoTwoOfAMillionDifferentPrefixesShareAName) {
  std::set<uint64_t> names;
  size_t num_prefixes = 0;
  const auto add = [&](uint64_t name) {
    names.insert(name);
    ++num_prefixes;
  };
  for (const std::string& salt : {std::string(), std::string(1, '\0'), std::string("a"), std::string("aa"),
                                  std::string("ab"), std::string("ba")}) {
    add(prefix_root(salt));
    for (uint32_t i = 0; i < 400; ++i) {
      for (uint32_t j = 0; j < 400; ++j) add(prefix_hash(prefix_root(salt), Tokens{i, j}));
    }
    for (size_t length = 3; length < 100; ++length) add(prefix_hash(prefix_root(salt), Tokens(length)));
    for (uint32_t bit = 0; bit < 32; ++bit) {
      for (size_t place = 0; place < 16; ++place) {
        Tokens tokens = counting(1000, 16);
        tokens[place] ^= uint32_t{1} << bit;
        add(prefix_hash(prefix_root(salt), tokens));
      }
    }
  }
  EXPECT_EQ(names.size(), num_prefixes);
  EXPECT_GT(num_prefixes, 900'000);
}

}  // namespace
}  // namespace octet
