#include "worker/sampling/token_counts.h"

#include <algorithm>

namespace octet::worker {

TokenCounts::TokenCounts(std::span<const TokenId> prompt) {
  std::vector<TokenId> distinct(prompt.begin(), prompt.end());
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  entries_.reserve(distinct.size());
  for (const TokenId token : distinct) entries_.push_back({.token = token, .in_prompt = true});
}

void TokenCounts::add_generated(TokenId token) {
  auto entry = std::lower_bound(entries_.begin(), entries_.end(), token,
                                [](const Entry& a, TokenId id) { return a.token < id; });
  if (entry == entries_.end() || entry->token != token) entry = entries_.insert(entry, {.token = token});
  ++entry->num_generated;
}

}  // namespace octet::worker
