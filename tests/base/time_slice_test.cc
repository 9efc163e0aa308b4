#include "base/time_slice.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <thread>

namespace octet {
namespace {

TEST(TimeSliceTest, KeepsTheNiceValueOfTheThreadAndOfThoseThatItStarts) {
  std::thread([] {  // a nice value is a thread's on Linux, and cannot be taken back
    ASSERT_EQ(setpriority(PRIO_PROCESS, 0, 7), 0);
    request_short_time_slices();
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), 7);
    std::thread([] { EXPECT_EQ(getpriority(PRIO_PROCESS, 0), 7); }).join();
  })
      .join();
}

}  // namespace
}  // namespace octet
