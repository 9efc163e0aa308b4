// On whose account a request runs: what the queue shares the pipelines among.
#pragma once

#include <cstdint>
#include <string>

namespace octet::router {

// Lower runs first.
inline constexpr int32_t kMinPriority = -100;
inline constexpr int32_t kMaxPriority = 100;

// Never a client's own words: an API key says it. Requests without a key share the one without a name.
struct Tenant {
  std::string name;
  // Share of the pipelines beside other tenants that wait; above 0.
  double weight = 1;
  // The lowest number that its requests may give as their priority.
  int32_t best_priority = kMinPriority;
};

}  // namespace octet::router
