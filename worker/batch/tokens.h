// The smallest words that the parts of a worker share.
#pragma once

#include <cstdint>
#include <vector>

namespace octet::worker {

using TokenId = uint32_t;
using SequenceId = uint64_t;
using BlockId = uint32_t;

// A token with its log-probability: natural logarithm, before temperature, penalties and filters.
struct ScoredToken {
  TokenId token = 0;
  float logprob = 0;
  std::vector<TokenId>
      top_tokens;  // the most likely ones at this position, best first; empty when not asked for
  std::vector<float> top_logprobs;  // [top_tokens.size()]

  bool operator==(const ScoredToken&) const = default;
};

}  // namespace octet::worker
