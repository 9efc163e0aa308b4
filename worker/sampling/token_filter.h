// Which tokens of one row of logits stay after min_p, top_k and top_p, and the draw among them. The first two
// commute: each keeps the largest logits, down to some limit. No allocation once its rooms have grown, and
// no sort of the vocabulary.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "worker/batch/sampling_params.h"

namespace octet::worker {

// The `count` largest logits' ids into `ids`, largest first, equal ones by rising id; all when there are
// fewer.
void select_largest(std::span<const float> logits, uint32_t count, std::vector<TokenId>& ids);

class TokenFilter {
 public:
  // logits: [vocab_size], adjusted, minus infinity for banned tokens; best: the argmax, not banned; weights:
  // room for [vocab_size]; candidates: room. All must outlive the filter. params.temperature is above 0.
  TokenFilter(const SamplingParams& params, std::span<const float> logits, TokenId best,
              std::span<double> weights, std::vector<TokenId>& candidates);

  // The token at which the sum of probabilities, over the tokens left in order of their ids, first exceeds
  // `draw`, a number between 0 and 1.
  TokenId pick(double draw) const;

 private:
  double weight(TokenId id, double temperature) const;
  void keep_min_p(double min_p);
  void keep_top_p(double top_p, std::vector<TokenId>& candidates);
  double total() const;

  std::span<const float> logits_;
  TokenId best_;
  std::span<double> weights_;  // probability over that of `best`; 0 for a token that was filtered out
};

}  // namespace octet::worker
