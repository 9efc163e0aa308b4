#include "router/access/account.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::router {

Account::Account(const Quota& quota, Time now) : quota_(quota) {
  if (quota.requests_per_minute) requests_.emplace(*quota.requests_per_minute, now);
  if (quota.tokens_per_minute) tokens_.emplace(*quota.tokens_per_minute, now);
}

absl::Status Account::admit(uint32_t prompt_tokens, Time now) {
  if (requests_) {
    const Duration wait = requests_->wait_for(1, now);
    if (wait > Duration::zero()) {
      return overloaded(absl::StrCat("the API key's quota of ", *quota_.requests_per_minute,
                                     " requests a minute is used up"),
                        wait);
    }
  }
  if (tokens_) {
    // A prompt of more than a minute's worth takes a full bucket, and the rest is owed.
    const Duration wait = tokens_->wait_for(prompt_tokens, now);
    if (wait > Duration::zero()) {
      return overloaded(
          absl::StrCat("the API key's quota of ", *quota_.tokens_per_minute, " tokens a minute is used up"),
          wait);
    }
  }
  if (requests_) requests_->take(1, now);
  charge_tokens(prompt_tokens, now);
  return absl::OkStatus();
}

void Account::give_back(uint32_t prompt_tokens, Time now) {
  if (requests_) requests_->take(-1, now);
  if (tokens_) tokens_->take(-static_cast<double>(prompt_tokens), now);
}

void Account::charge_tokens(uint32_t num_tokens, Time now) {
  if (tokens_) tokens_->take(num_tokens, now);
}

}  // namespace octet::router
