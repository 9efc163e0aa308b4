// Which CPUs this process may use: the affinity mask, cut to the CPU quota of its cgroups.
#pragma once

#include <filesystem>
#include <vector>

namespace octet::kernels {

// CPU numbers, ascending, at least one, by the calling thread's mask. A container's quota of n CPUs' time
// leaves the first n (rounded up): more threads than that would be stopped together for the rest of each
// period.
std::vector<int> usable_cpus();

// As above from an affinity mask (ascending, not empty) and the proc and sys folders under root. The quotas
// of the process's cgroup and all its ancestors count, of cgroup v2 (cpu.max) and v1 (cpu.cfs_quota_us). A
// file that is missing or not as expected means no limit.
std::vector<int> usable_cpus(const std::filesystem::path& root, std::vector<int> affinity);

}  // namespace octet::kernels
