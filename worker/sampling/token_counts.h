// Which tokens a sequence has, and how often it generated each: what the penalties look at. Kept up token by
// token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "worker/batch/tokens.h"

namespace octet::worker {

class TokenCounts {
 public:
  struct Entry {
    TokenId token = 0;
    bool in_prompt = false;
    uint32_t num_generated = 0;
  };

  TokenCounts() = default;
  explicit TokenCounts(std::span<const TokenId> prompt);

  void add_generated(TokenId token);

  // One entry a distinct token, by rising id.
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

}  // namespace octet::worker
