#include "worker/stage/rank_threads.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>

namespace octet::worker {
namespace {

TEST(RankThreads, RunsEveryRankOnceOnAThreadOfItsOwn) {
  RankThreads threads(4);
  for (int round = 0; round < 100; ++round) {
    std::array<std::atomic<int>, 4> calls{};
    std::array<std::thread::id, 4> ids;
    std::barrier together(4);  // passes only when all run at once
    threads.run([&](int rank) {
      together.arrive_and_wait();
      ++calls[static_cast<size_t>(rank)];
      ids[static_cast<size_t>(rank)] = std::this_thread::get_id();
    });
    for (size_t rank = 0; rank < 4; ++rank) EXPECT_EQ(calls[rank], 1);
    EXPECT_EQ(ids[0], std::this_thread::get_id());
  }
}

TEST(RankThreads, OneRankNeedsNoThread) {
  RankThreads threads(1);
  int calls = 0;
  threads.run([&](int rank) { calls += rank + 1; });
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace octet::worker
