#include "router/tracing/batch_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace octet::router {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr BatchLimits kLimits{.max_waiting = 5, .max_batch = 2, .max_delay = seconds(10)};

Time at(int s) {
  return Time(seconds(s));
}

TEST(BatchQueueTest, NothingIsDueWhileNothingWaits) {
  BatchQueue<int> queue(kLimits);
  EXPECT_FALSE(queue.due());
  EXPECT_THAT(queue.take(), IsEmpty());
}

TEST(BatchQueueTest, ABatchIsDueByItsOldestItem) {
  BatchQueue<int> queue({.max_waiting = 5, .max_batch = 3, .max_delay = seconds(10)});
  queue.push(1, at(100));
  queue.push(2, at(107));
  EXPECT_EQ(queue.due(), at(110));
  EXPECT_THAT(queue.take(), ElementsAre(1, 2));
  queue.push(3, at(120));
  EXPECT_EQ(queue.due(), at(130));
}

TEST(BatchQueueTest, AFullBatchIsDueAtOnceAndWhatIsBeyondItWaits) {
  BatchQueue<int> queue(kLimits);
  for (int i = 1; i <= 3; ++i) queue.push(i, at(i));
  EXPECT_EQ(queue.due(), Time::min());
  EXPECT_THAT(queue.take(), ElementsAre(1, 2));
  EXPECT_EQ(queue.due(), at(13));
  EXPECT_THAT(queue.take(), ElementsAre(3));
  EXPECT_FALSE(queue.due());
}

TEST(BatchQueueTest, AFullQueueLosesNewcomers) {
  BatchQueue<int> queue(kLimits);
  for (int i = 1; i <= 5; ++i) EXPECT_TRUE(queue.push(i, at(0)));
  EXPECT_FALSE(queue.push(6, at(0)));
  EXPECT_THAT(queue.take(), ElementsAre(1, 2));
  EXPECT_TRUE(queue.push(7, at(1)));
  EXPECT_EQ(queue.size(), 4u);
  EXPECT_THAT(queue.take(), ElementsAre(3, 4));
  EXPECT_THAT(queue.take(), ElementsAre(5, 7));
}

}  // namespace
}  // namespace octet::router
