// Which prefixes one lead has in its prefix cache, as it told. A hint: a block may be gone when a sequence
// comes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_set>

namespace octet::router {

class PrefixIndex {
 public:
  // A change that the lead told: names to add and to take away (base/prefix_hash.h). base_version 0: there
  // are no others but those added. One that does not follow on the version known is no use: everything is
  // forgotten, until the lead tells all.
  void apply(uint64_t base_version, uint64_t version, std::span<const uint64_t> added,
             std::span<const uint64_t> removed);
  void clear();

  // How many blocks from the first on are there. hashes: of a prompt's blocks, in order.
  size_t num_known(std::span<const uint64_t> hashes) const;
  size_t size() const { return names_.size(); }
  bool empty() const { return names_.empty(); }

 private:
  // More than leads tell; past it the index forgets everything rather than grow.
  static constexpr size_t kMaxNames = size_t{1} << 20;

  uint64_t version_ = 0;
  std::unordered_set<uint64_t> names_;
};

}  // namespace octet::router
