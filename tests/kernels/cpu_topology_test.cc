#include "kernels/cpu/cpu_topology.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace octet::kernels {
namespace {

namespace fs = std::filesystem;
using Cpus = std::vector<int>;

const Cpus kSix = {1, 2, 3, 8, 9, 10};

// A root folder with the proc and sys files of a machine.
class CpuTopologyTest : public ::testing::Test {
 protected:
  CpuTopologyTest() {
    std::string folder = ::testing::TempDir() + "cpu_topologyXXXXXX";
    root_ = mkdtemp(folder.data());
  }
  ~CpuTopologyTest() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    const fs::path file = root_ / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void make_v2(const std::string& group, const std::string& top = "/") {
    write("proc/self/cgroup", "0::" + group + "\n");
    write("proc/self/mountinfo", "24 1 0:22 / /proc rw - proc proc rw\n30 23 0:26 " + top +
                                     " /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  }
  void make_v1(const std::string& group) {
    write("proc/self/cgroup", "5:cpuset:/other\n4:cpu,cpuacct:" + group + "\n0::/\n");
    write("proc/self/mountinfo",
          "31 30 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
          "32 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  }
  Cpus cpus() const { return usable_cpus(root_, kSix); }

 private:
  fs::path root_;
};

TEST_F(CpuTopologyTest, AreTheAffinityMaskWithoutCgroups) {
  EXPECT_EQ(cpus(), kSix);
}

TEST_F(CpuTopologyTest, AreCutToTheQuotaOfTheProcessesGroup) {
  make_v2("/a/b");
  write("sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
  EXPECT_EQ(cpus(), (Cpus{1, 2}));
}

TEST_F(CpuTopologyTest, RoundAPartOfACpuUpAndAreAtLeastOne) {
  make_v2("/a");
  write("sys/fs/cgroup/a/cpu.max", "210000 100000\n");
  EXPECT_EQ(cpus(), (Cpus{1, 2, 3}));
  write("sys/fs/cgroup/a/cpu.max", "1000 100000\n");
  EXPECT_EQ(cpus(), (Cpus{1}));
}

TEST_F(CpuTopologyTest, AreCutToTheTightestQuotaOfTheAncestors) {
  make_v2("/a/b/c");
  write("sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n");
  write("sys/fs/cgroup/a/cpu.max", "300000 100000\n");
  EXPECT_EQ(cpus(), (Cpus{1, 2, 3}));
  write("sys/fs/cgroup/cpu.max", "100000 100000\n");  // a container's own group is its root
  EXPECT_EQ(cpus(), (Cpus{1}));
}

TEST_F(CpuTopologyTest, AreNotMoreThanTheMaskHas) {
  make_v2("/a");
  write("sys/fs/cgroup/a/cpu.max", "6400000 100000\n");
  EXPECT_EQ(cpus(), kSix);
}

TEST_F(CpuTopologyTest, AreCutToAQuotaOfVersion1) {
  make_v1("/a/b");
  write("sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpus(), kSix);
  write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n");
  write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "10000\n");
  EXPECT_EQ(cpus(), (Cpus{1, 2, 3, 8, 9}));
}

TEST_F(CpuTopologyTest, FindTheGroupWhereOnlyPartOfTheHierarchyIsMounted) {
  make_v2("/pods/x/worker", "/pods/x");
  write("sys/fs/cgroup/worker/cpu.max", "200000 100000\n");
  EXPECT_EQ(cpus(), (Cpus{1, 2}));
  // The group is outside of what is mounted: the mount's own quota is all that can be seen.
  make_v2("/pods/y", "/pods/x");
  write("sys/fs/cgroup/cpu.max", "300000 100000\n");
  EXPECT_EQ(cpus(), (Cpus{1, 2, 3}));
  make_v2("/../y");
  EXPECT_EQ(cpus(), (Cpus{1, 2, 3}));
}

TEST_F(CpuTopologyTest, AreNotLimitedByWhatCannotBeRead) {
  make_v2("/a");
  for (const char* text : {"max 100000\n", "", "many\n", "100000\n", "100000 0\n", "0 100000\n"}) {
    write("sys/fs/cgroup/a/cpu.max", text);
    EXPECT_EQ(cpus(), kSix) << text;
  }
  write("sys/fs/cgroup/a/cpu.max", "100000 100000\n");
  write("proc/self/mountinfo", "30 23\n - cgroup2\n");
  EXPECT_EQ(cpus(), kSix);
  make_v2("/a");
  write("proc/self/cgroup", "0\n\n0:\n");
  EXPECT_EQ(cpus(), kSix);
}

TEST(CpuTopology, FollowsTheAffinityOfTheCallingThread) {
  const Cpus all = usable_cpus();
  ASSERT_FALSE(all.empty());
  std::thread([&] {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    CPU_SET(all.back(), &mask);
    ASSERT_EQ(sched_setaffinity(0, sizeof(mask), &mask), 0);
    EXPECT_EQ(usable_cpus(), Cpus{all.back()});
  }).join();
}

}  // namespace
}  // namespace octet::kernels
