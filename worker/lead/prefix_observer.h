// Who wants to know what is in the prefix cache, by the names of base/prefix_hash.h.
#pragma once

#include <cstdint>

namespace octet::worker {

// Called on the scheduler's thread; must not block.
class PrefixObserver {
 public:
  virtual ~PrefixObserver() = default;
  virtual void on_added(uint64_t prefix) = 0;
  virtual void on_removed(uint64_t prefix) = 0;
  virtual void on_cleared() = 0;
};

}  // namespace octet::worker
