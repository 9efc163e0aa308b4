#include "kernels/cpu/thread_group.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <vector>

namespace octet::kernels {
namespace {

TEST(ThreadGroup, CallsEachItemOnce) {
  for (const int num_threads : {1, 2, 3, 5}) {
    ThreadGroup threads(num_threads, false, {});
    for (const int64_t num_items : {0, 1, 2, 3, 17, 64, 1000}) {
      for (const int64_t min_part : {1, 4, 600}) {
        std::vector<std::atomic<int>> calls(static_cast<size_t>(num_items));
        threads.run(num_items, min_part, [&](int64_t first, int64_t last, int thread) {
          ASSERT_TRUE(thread >= 0 && thread < num_threads);
          for (int64_t i = first; i < last; ++i) ++calls[static_cast<size_t>(i)];
        });
        for (const std::atomic<int>& count : calls) ASSERT_EQ(count, 1);
      }
    }
  }
}

TEST(ThreadGroup, LeavesAThreadThatIsLateOnlyThePieceThatItHas) {
  ThreadGroup threads(2, false, {});
  constexpr int64_t kItems = 64;
  std::atomic<int64_t> num_done{0};
  std::atomic<bool> in_time{false};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  threads.run(kItems, 1, [&](int64_t first, int64_t last, int) {
    if (first == kItems / 2) {  // the second thread's first piece
      const int64_t others = kItems - (last - first);
      while (num_done < others && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
      in_time = num_done == others;
    }
    num_done += last - first;
  });
  EXPECT_TRUE(in_time);
}

}  // namespace
}  // namespace octet::kernels
