#include "worker/engine/prefix_digest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

namespace octet::worker {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST(PrefixDigest, TellsANewcomerEverythingAndThenWhatChanged) {
  PrefixDigest digest;
  digest.on_added(10);
  digest.on_added(20);
  const auto all = digest.since(0);
  ASSERT_TRUE(all.has_value());
  EXPECT_EQ(all->base_version, 0);
  EXPECT_THAT(all->added, UnorderedElementsAre(10, 20));
  EXPECT_FALSE(digest.since(all->version).has_value());
  digest.on_added(30);
  digest.on_removed(10);
  const auto changes = digest.since(all->version);
  ASSERT_TRUE(changes.has_value());
  EXPECT_EQ(changes->base_version, all->version);
  EXPECT_THAT(changes->added, UnorderedElementsAre(30));
  EXPECT_THAT(changes->removed, UnorderedElementsAre(10));
}

TEST(PrefixDigest, AnEmptyCacheIsToldToo) {
  const auto all = PrefixDigest().since(0);
  ASSERT_TRUE(all.has_value());
  EXPECT_GT(all->version, 0);
  EXPECT_THAT(all->added, IsEmpty());
}

TEST(PrefixDigest, TellsEverythingAgainToWhoIsTooFarBehindOrFromAnEarlierLife) {
  PrefixDigest digest(100, 2);
  digest.on_added(1);
  const uint64_t version = digest.since(0)->version;
  digest.on_added(2);
  digest.on_added(3);
  EXPECT_EQ(digest.since(version)->base_version, version);
  digest.on_added(4);
  EXPECT_EQ(digest.since(version)->base_version, 0);
  EXPECT_THAT(digest.since(version)->added, UnorderedElementsAre(1, 2, 3, 4));
  EXPECT_EQ(digest.since(1000)->base_version, 0);
}

TEST(PrefixDigest, AClearedCacheIsToldAsANewOne) {
  PrefixDigest digest;
  digest.on_added(1);
  const uint64_t version = digest.since(0)->version;
  digest.on_cleared();
  digest.on_added(2);
  EXPECT_EQ(digest.since(version)->base_version, 0);
  EXPECT_THAT(digest.since(version)->added, UnorderedElementsAre(2));
}

TEST(PrefixDigest, TellsOfNoMoreThanItsLimit) {
  PrefixDigest digest(3, 100);
  for (uint64_t prefix = 1; prefix <= 10; ++prefix) digest.on_added(prefix);
  const auto all = digest.since(0);
  EXPECT_THAT(all->added, UnorderedElementsAre(1, 2, 3));
  digest.on_removed(7);
  EXPECT_FALSE(digest.since(all->version).has_value());
  digest.on_removed(2);
  digest.on_added(11);
  EXPECT_THAT(digest.since(all->version)->added, UnorderedElementsAre(11));
  EXPECT_THAT(digest.since(all->version)->removed, UnorderedElementsAre(2));
}

// Watchers that listen at random times know what the cache holds.
TEST(PrefixDigest, WatchersFollowRandomChanges) {
  std::mt19937 random(1);
  PrefixDigest digest(1000, 20);
  std::set<uint64_t> held;
  struct Watcher {
    uint64_t version = 0;
    std::set<uint64_t> known;
  };
  std::vector<Watcher> watchers(3);
  uint64_t num_deltas = 0;
  for (int i = 0; i < 20000; ++i) {
    const uint64_t prefix = random() % 50;
    if (random() % 500 == 0) {
      digest.on_cleared();
      held.clear();
    } else if (held.erase(prefix) > 0) {
      digest.on_removed(prefix);
    } else {
      digest.on_added(prefix);
      held.insert(prefix);
    }
    if (random() % 5 != 0) continue;
    Watcher& watcher = watchers[random() % watchers.size()];
    const auto changes = digest.since(watcher.version);
    if (!changes) continue;
    if (changes->base_version == 0)
      watcher.known.clear();
    else
      ASSERT_EQ(changes->base_version, watcher.version);
    num_deltas += changes->base_version > 0;
    for (const uint64_t removed : changes->removed) watcher.known.erase(removed);
    watcher.known.insert(changes->added.begin(), changes->added.end());
    watcher.version = changes->version;
    ASSERT_EQ(watcher.known, held);
  }
  EXPECT_GT(num_deltas, 1000);
}

}  // namespace
}  // namespace octet::worker
