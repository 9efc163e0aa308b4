// Which tokens of one row of logits stay after top_k, min_p and top_p, and the draw among them. Each keeps
// the largest logits, down to some limit. No allocation once its rooms have grown, and no sort of the
// vocabulary.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/sample_row.h"

namespace octet::kernels {

// The `count` largest logits' ids into `ids`, largest first, equal ones by rising id; all when there are
// fewer.
void select_largest(std::span<const float> logits, uint32_t count, std::vector<uint32_t>& ids);

class TokenFilter {
 public:
  // logits: [vocab_size], edited, minus infinity for banned tokens; best: the argmax, not banned; weights:
  // room for [vocab_size]; candidates: room. All must outlive the filter. row.temperature is above 0.
  TokenFilter(const SampleRow& row, std::span<const float> logits, uint32_t best, std::span<double> weights,
              std::vector<uint32_t>& candidates);

  // The token at which the sum of probabilities, over the tokens left in order of their ids, first exceeds
  // `draw`, a number between 0 and 1.
  uint32_t pick(double draw) const;

 private:
  double weight(uint32_t id, double temperature) const;
  void keep_min_p(double min_p);
  void keep_top_p(double top_p, std::vector<uint32_t>& candidates);
  double total() const;

  std::span<const float> logits_;
  uint32_t best_;
  std::span<double> weights_;  // probability over that of `best`; 0 for a token that was filtered out
};

}  // namespace octet::kernels
