// What the prefix cache holds, by the names that routers compute: the scheduler's thread writes it, those
// that serve watchers read it. Bounded, whatever the cache holds: of more prefixes than max_prefixes only the
// earlier ones are told.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "worker/lead/prefix_observer.h"

namespace octet::worker {

class PrefixDigest final : public PrefixObserver {
 public:
  // max_changes: the most that a watcher may be behind without being told everything again.
  explicit PrefixDigest(size_t max_prefixes = size_t{1} << 17, size_t max_changes = size_t{1} << 14)
      : max_prefixes_(max_prefixes), max_changes_(max_changes) {}

  struct Changes {
    uint64_t base_version = 0;  // that they apply to; 0: everything is told
    uint64_t version = 0;       // that they lead to
    std::vector<uint64_t> added;
    std::vector<uint64_t> removed;  // none of these is in `added`
  };
  // What someone who knows `version` (0: nothing) has to be told; nothing when that is the newest.
  std::optional<Changes> since(uint64_t version) const;

  void on_added(uint64_t prefix) override;
  void on_removed(uint64_t prefix) override;
  void on_cleared() override;

 private:
  void record(uint64_t prefix);

  const size_t max_prefixes_;
  const size_t max_changes_;
  mutable std::mutex mutex_;
  absl::flat_hash_set<uint64_t> prefixes_;
  std::deque<uint64_t> changed_;  // the prefixes of the last versions, the newest last
  uint64_t version_ = 1;
};

}  // namespace octet::worker
