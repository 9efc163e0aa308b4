#include "tools/bench/process_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace octet::bench {
namespace {

TEST(ProcessMemory, ReadsTheResidentLineOfAPage) {
  EXPECT_EQ(resident_bytes_of_page("VmPeak:\t 1 kB\nVmRSS:\t    2048 kB\nRssAnon:\t 3 kB\n"), 2048u * 1024);
  EXPECT_FALSE(resident_bytes_of_page("Name:\tkthreadd\n").has_value());
}

TEST(ProcessMemory, WatchesThisProcess) {
  const absl::StatusOr<WatchedProcess> process = watch_process(getpid());
  ASSERT_TRUE(process.ok()) << process.status();
  EXPECT_EQ(process->name, "tools_bench_tes");  // the kernel keeps 15 characters
  EXPECT_GT(*resident_bytes(getpid()), 1u << 20);
}

TEST(ProcessMemory, RefusesAnUnknownProcess) {
  EXPECT_EQ(watch_process(0x7fffffff).status().message(), "no process has the id 2147483647");
}

}  // namespace
}  // namespace octet::bench
