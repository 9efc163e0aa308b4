// What a tenant has used of its quota.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "base/clock.h"
#include "router/access/api_keys.h"
#include "router/access/token_bucket.h"

namespace octet::router {

// Prompts are charged when a request is admitted, answers as they come: an answer that was not foreseen is
// owed, and later requests wait for it.
class Account {
 public:
  Account(const Quota& quota, Time now);

  const Quota& quota() const { return quota_; }
  // Charges a request. Errors: RESOURCE_EXHAUSTED with a hint when to come back; nothing is charged then.
  absl::Status admit(uint32_t prompt_tokens, Time now);
  // A request that was admitted and did not run.
  void give_back(uint32_t prompt_tokens, Time now);
  void charge_tokens(uint32_t num_tokens, Time now);

 private:
  const Quota quota_;
  std::optional<TokenBucket> requests_;
  std::optional<TokenBucket> tokens_;
};

}  // namespace octet::router
