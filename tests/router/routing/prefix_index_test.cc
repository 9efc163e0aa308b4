#include "router/routing/prefix_index.h"

#include <gtest/gtest.h>

#include <vector>

namespace octet::router {
namespace {

using Names = std::vector<uint64_t>;

TEST(PrefixIndexTest, CountsBlocksFromTheFirstOn) {
  PrefixIndex index;
  EXPECT_EQ(index.num_known(Names{1, 2}), 0U);
  index.apply(0, 1, Names{1, 2, 4}, Names{});
  EXPECT_EQ(index.num_known(Names{1, 2, 3, 4}), 2U);
  EXPECT_EQ(index.num_known(Names{1, 2}), 2U);
  EXPECT_EQ(index.num_known(Names{4}), 1U);
  EXPECT_EQ(index.num_known(Names{}), 0U);
}

TEST(PrefixIndexTest, FollowsChanges) {
  PrefixIndex index;
  index.apply(0, 5, Names{1, 2}, Names{});
  index.apply(5, 9, Names{3}, Names{1});
  EXPECT_EQ(index.num_known(Names{1, 2}), 0U);
  EXPECT_EQ(index.num_known(Names{2, 3}), 2U);
  index.apply(0, 12, Names{7}, Names{});
  EXPECT_EQ(index.num_known(Names{2, 3}), 0U);
  EXPECT_EQ(index.num_known(Names{7}), 1U);
}

TEST(PrefixIndexTest, AMissedChangeForgetsEverythingUntilAllIsTold) {
  PrefixIndex index;
  index.apply(0, 5, Names{1}, Names{});
  index.apply(6, 7, Names{2}, Names{});
  EXPECT_TRUE(index.empty());
  index.apply(7, 8, Names{3}, Names{});
  EXPECT_TRUE(index.empty());
  index.apply(0, 9, Names{4}, Names{});
  EXPECT_EQ(index.num_known(Names{4}), 1U);
}

TEST(PrefixIndexTest, DoesNotGrowPastItsLimit) {
  PrefixIndex index;
  uint64_t version = 0;
  for (uint64_t next = 0; next < (uint64_t{1} << 20) + 200'000;) {
    Names added;
    for (int i = 0; i < 100'000; ++i) added.push_back(next++);
    index.apply(version, version + 1, added, Names{});
    if (++version > 1 && index.empty()) return;
  }
  FAIL() << "it grew on";
}

}  // namespace
}  // namespace octet::router
