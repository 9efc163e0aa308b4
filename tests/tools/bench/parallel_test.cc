#include "tools/bench/machine/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "tools/bench/machine/read_patterns.h"

namespace octet::bench {
namespace {

TEST(Parallel, RunsEachThreadOnceAndTakesTime) {
  std::vector<std::atomic<int>> calls(3);
  const double seconds = seconds_of_parallel(3, [&](int thread) { ++calls[static_cast<size_t>(thread)]; });
  for (const std::atomic<int>& count : calls) EXPECT_EQ(count, 1);
  EXPECT_GT(seconds, 0);
}

TEST(ReadPatterns, EachReadsMemoryThatIsNoMultipleOfItsStreams) {
  for (const ReadPattern& pattern : read_patterns()) {
    EXPECT_GT(read_bytes_per_second(pattern, 2, (size_t{1} << 20) + 12345), 0) << pattern.name;
  }
}

TEST(ReadPatterns, TooLittleMemoryHasNoRate) {
  EXPECT_EQ(read_bytes_per_second(read_patterns().front(), 2, 100), 0);
}

}  // namespace
}  // namespace octet::bench
