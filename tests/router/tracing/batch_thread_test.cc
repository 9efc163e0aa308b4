#include "router/tracing/batch_thread.h"

#include <gtest/gtest.h>

#include <future>
#include <numeric>

namespace octet::router {
namespace {

constexpr BatchLimits kSlow{.max_waiting = 100, .max_batch = 10, .max_delay = std::chrono::hours(1)};

TEST(BatchThreadTest, EveryItemIsConsumedOnceAndInOrder) {
  std::vector<int> seen;
  {
    BatchThread<int> thread(
        {.max_waiting = 10000, .max_batch = 7, .max_delay = std::chrono::microseconds(50)},
        [&](const std::vector<int>& batch) {
          EXPECT_FALSE(batch.empty());
          EXPECT_LE(batch.size(), 7u);
          seen.insert(seen.end(), batch.begin(), batch.end());
        });
    for (int i = 0; i < 5000; ++i) EXPECT_TRUE(thread.push(i));
  }
  std::vector<int> expected(5000);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(seen, expected);
}

TEST(BatchThreadTest, ABatchThatIsFullDoesNotWaitForItsTime) {
  std::promise<size_t> consumed;
  BatchThread<int> thread(kSlow, [&](const std::vector<int>& batch) { consumed.set_value(batch.size()); });
  for (int i = 0; i < 10; ++i) thread.push(i);
  auto size = consumed.get_future();
  ASSERT_EQ(size.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  EXPECT_EQ(size.get(), 10u);
}

TEST(BatchThreadTest, AConsumerThatHangsHoldsNobodyUp) {
  std::promise<void> may_go_on;
  std::promise<void> hangs;
  std::vector<int> seen;
  size_t num_lost = 0;
  {
    BatchThread<int> thread(kSlow, [&, first = true](const std::vector<int>& batch) mutable {
      if (std::exchange(first, false)) {
        hangs.set_value();
        may_go_on.get_future().wait();
      }
      seen.insert(seen.end(), batch.begin(), batch.end());
    });
    for (int i = 0; i < 10; ++i) thread.push(i);
    hangs.get_future().wait();
    for (int i = 10; i < 1000; ++i) num_lost += thread.push(i) ? 0 : 1;
    may_go_on.set_value();
  }
  EXPECT_EQ(num_lost, 890u) << "a hundred wait behind the ten that are consumed";
  EXPECT_EQ(seen.size(), 110u);
}

}  // namespace
}  // namespace octet::router
