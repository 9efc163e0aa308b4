#include "router/routing/prefix_index.h"

namespace octet::router {

void PrefixIndex::apply(uint64_t base_version, uint64_t version, std::span<const uint64_t> added,
                        std::span<const uint64_t> removed) {
  if (base_version == 0) clear();
  if (base_version != version_ || names_.size() + added.size() > kMaxNames) return clear();
  for (const uint64_t name : removed) names_.erase(name);
  names_.insert(added.begin(), added.end());
  version_ = version;
}

void PrefixIndex::clear() {
  names_.clear();
  version_ = 0;
}

size_t PrefixIndex::num_known(std::span<const uint64_t> hashes) const {
  size_t num = 0;
  while (num < hashes.size() && names_.contains(hashes[num])) ++num;
  return num;
}

}  // namespace octet::router
