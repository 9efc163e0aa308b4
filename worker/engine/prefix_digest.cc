#include "worker/engine/prefix_digest.h"

namespace octet::worker {

std::optional<PrefixDigest::Changes> PrefixDigest::since(uint64_t version) const {
  const std::lock_guard lock(mutex_);
  if (version == version_) return std::nullopt;
  Changes changes;
  changes.version = version_;
  if (version == 0 || version > version_ || version_ - version > changed_.size()) {
    changes.added.assign(prefixes_.begin(), prefixes_.end());
    return changes;
  }
  changes.base_version = version;
  // Only what has become of each counts, however often it came and went.
  const absl::flat_hash_set<uint64_t> changed(changed_.end() - static_cast<ptrdiff_t>(version_ - version),
                                              changed_.end());
  for (const uint64_t prefix : changed) {
    (prefixes_.contains(prefix) ? changes.added : changes.removed).push_back(prefix);
  }
  return changes;
}

void PrefixDigest::on_added(uint64_t prefix) {
  const std::lock_guard lock(mutex_);
  if (prefixes_.size() < max_prefixes_ && prefixes_.insert(prefix).second) record(prefix);
}

void PrefixDigest::on_removed(uint64_t prefix) {
  const std::lock_guard lock(mutex_);
  if (prefixes_.erase(prefix) > 0) record(prefix);
}

void PrefixDigest::on_cleared() {
  const std::lock_guard lock(mutex_);
  prefixes_.clear();
  changed_.clear();
  ++version_;
}

void PrefixDigest::record(uint64_t prefix) {
  ++version_;
  changed_.push_back(prefix);
  if (changed_.size() > max_changes_) changed_.pop_front();
}

}  // namespace octet::worker
