#include "kernels/cpu/cpu_topology.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include "base/check.h"

namespace octet::kernels {
namespace {

namespace fs = std::filesystem;

// The two hierarchies that may limit CPU time.
enum class CgroupVersion { kV1, kV2 };

bool has_item(std::string_view comma_separated, std::string_view item) {
  while (!comma_separated.empty()) {
    const size_t end = std::min(comma_separated.find(','), comma_separated.size());
    if (comma_separated.substr(0, end) == item) return true;
    comma_separated.remove_prefix(std::min(end + 1, comma_separated.size()));
  }
  return false;
}

// The process's group from /proc/self/cgroup, whose lines are id:controllers:path; v2 has no controllers.
std::optional<std::string> find_group(const fs::path& root, CgroupVersion version) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (version == CgroupVersion::kV2 ? controllers.empty() : has_item(controllers, "cpu")) {
      return line.substr(second + 1);
    }
  }
  return std::nullopt;
}

// A mounted part of a hierarchy: its group `top` is the folder `folder`.
struct Mount {
  std::string top;
  fs::path folder;
};

// From /proc/self/mountinfo: "id parent device top folder options [tags...] - type source options".
std::optional<Mount> find_mount(const fs::path& root, CgroupVersion version) {
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t separator = line.find(" - ");
    if (separator == std::string::npos) continue;
    std::istringstream before(line.substr(0, separator));
    std::istringstream after(line.substr(separator + 3));
    std::string id, parent, device, top, folder, type, source, options;
    if (!(before >> id >> parent >> device >> top >> folder) || !(after >> type >> source >> options)) {
      continue;
    }
    if (version == CgroupVersion::kV2 ? type == "cgroup2" : type == "cgroup" && has_item(options, "cpu")) {
      return Mount{top, root / fs::path(folder).relative_path()};
    }
  }
  return std::nullopt;
}

// The folder of a group; of the mount itself where the group lies outside of what is mounted, which a
// container sees whose /proc/self/cgroup tells the host's path.
fs::path folder_of(const Mount& mount, const std::string& group) {
  const fs::path relative = fs::path(group).lexically_relative(mount.top);
  if (relative.empty() || *relative.begin() == "..") return mount.folder;
  return (mount.folder / relative).lexically_normal();
}

// ceil(quota / period) of one group's folder.
std::optional<int64_t> limit_of(const fs::path& folder, CgroupVersion version) {
  int64_t quota = 0;  // microseconds in each period; "max" (v2) and -1 (v1) are no limit
  int64_t period = 0;
  if (version == CgroupVersion::kV2) {
    std::ifstream(folder / "cpu.max") >> quota >> period;
  } else {
    std::ifstream(folder / "cpu.cfs_quota_us") >> quota;
    std::ifstream(folder / "cpu.cfs_period_us") >> period;
  }
  if (quota <= 0 || period <= 0) return std::nullopt;
  return quota / period + (quota % period != 0);
}

// The tightest limit of the process's group and its ancestors; limit where none is tighter.
int64_t tightest_limit(const fs::path& root, CgroupVersion version, int64_t limit) {
  const std::optional<std::string> group = find_group(root, version);
  const std::optional<Mount> mount = find_mount(root, version);
  if (!group.has_value() || !mount.has_value()) return limit;
  for (fs::path folder = folder_of(*mount, *group);; folder = folder.parent_path()) {
    limit = std::min(limit, limit_of(folder, version).value_or(limit));
    if (folder == mount->folder || folder == folder.parent_path()) return limit;
  }
}

std::vector<int> affinity_mask() {
  for (int num_cpus = 1024;; num_cpus *= 2) {  // the system refuses a mask smaller than its own
    std::vector<cpu_set_t> mask(static_cast<size_t>(num_cpus / CPU_SETSIZE));
    const size_t num_bytes = mask.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, num_bytes, mask.data()) != 0) {
      OCTET_CHECK(errno == EINVAL && num_cpus < (1 << 20), "sched_getaffinity: error ", errno);
      continue;
    }
    std::vector<int> cpus;
    for (int cpu = 0; cpu < num_cpus; ++cpu) {
      if (CPU_ISSET_S(static_cast<size_t>(cpu), num_bytes, mask.data())) cpus.push_back(cpu);
    }
    return cpus;
  }
}

}  // namespace

std::vector<int> usable_cpus() {
  return usable_cpus("/", affinity_mask());
}

std::vector<int> usable_cpus(const fs::path& root, std::vector<int> affinity) {
  OCTET_CHECK(!affinity.empty());
  int64_t limit = static_cast<int64_t>(affinity.size());
  for (const CgroupVersion version : {CgroupVersion::kV1, CgroupVersion::kV2}) {
    limit = tightest_limit(root, version, limit);
  }
  affinity.resize(static_cast<size_t>(limit));
  return affinity;
}

}  // namespace octet::kernels
