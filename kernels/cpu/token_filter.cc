#include "kernels/cpu/token_filter.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace octet::kernels {
namespace {

// Up to this many are kept in a heap while the logits are read once; more are partitioned, which moves every
// id about.
constexpr uint32_t kMaxHeapSize = 1024;

// Whether a comes before b: the order of all that is said to be the largest, first or best here.
auto by_logit(std::span<const float> logits) {
  return
      [logits](uint32_t a, uint32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); };
}

}  // namespace

void select_largest(std::span<const float> logits, uint32_t count, std::vector<uint32_t>& ids) {
  const auto vocab_size = static_cast<uint32_t>(logits.size());
  const auto before = by_logit(logits);
  count = std::min(count, vocab_size);
  if (count > kMaxHeapSize) {
    ids.resize(vocab_size);
    std::iota(ids.begin(), ids.end(), uint32_t{0});
    std::nth_element(ids.begin(), ids.begin() + (count - 1), ids.end(), before);
    ids.resize(count);
    std::sort(ids.begin(), ids.end(), before);
    return;
  }
  ids.resize(count);
  if (count == 0) return;
  std::iota(ids.begin(), ids.end(), uint32_t{0});
  std::make_heap(ids.begin(), ids.end(), before);  // the last one in order is in front
  for (uint32_t id = count; id < vocab_size; ++id) {
    // Equal logits come in order of rising ids, so the later is the worse.
    if (logits[id] <= logits[ids.front()]) continue;
    std::pop_heap(ids.begin(), ids.end(), before);
    ids.back() = id;
    std::push_heap(ids.begin(), ids.end(), before);
  }
  std::sort_heap(ids.begin(), ids.end(), before);
}

TokenFilter::TokenFilter(const SampleRow& row, std::span<const float> logits, uint32_t best,
                         std::span<double> weights, std::vector<uint32_t>& candidates)
    : logits_(logits), best_(best), weights_(weights) {
  if (row.top_k > 0 && row.top_k < logits.size()) {
    select_largest(logits, row.top_k, candidates);
    std::fill(weights_.begin(), weights_.end(), 0.0);
    for (const uint32_t id : candidates) weights_[id] = weight(id, row.temperature);
  } else {
    for (uint32_t id = 0; id < logits.size(); ++id) weights_[id] = weight(id, row.temperature);
  }
  if (row.min_p > 0) keep_min_p(row.min_p);
  if (row.top_p < 1) keep_top_p(row.top_p, candidates);
}

// 0 for a banned token, whose logit is minus infinity.
double TokenFilter::weight(uint32_t id, double temperature) const {
  return std::exp((logits_[id] - double{logits_[best_]}) / temperature);
}

// The best one's weight is 1, so a weight is the ratio that min_p bounds.
void TokenFilter::keep_min_p(double min_p) {
  for (double& weight : weights_) {
    if (weight < min_p) weight = 0;
  }
}

// Keeps a token while those before it, from the largest on, sum to less than top_p of the total.
void TokenFilter::keep_top_p(double top_p, std::vector<uint32_t>& candidates) {
  const double sum = total();
  // All tokens as small as one of these sum to less than the part to drop, so all of them are in it. Most of
  // a large vocabulary goes here.
  const double negligible = (1 - top_p) * sum / static_cast<double>(weights_.size());
  candidates.clear();
  for (uint32_t id = 0; id < weights_.size(); ++id) {
    if (weights_[id] < negligible) {
      weights_[id] = 0;
    } else {
      candidates.push_back(id);
    }
  }
  // Bisects the candidates: those ahead of `first` are kept and sum to sum_kept, those from `last` on are
  // dropped.
  const double wanted = top_p * sum;
  auto first = candidates.begin();
  auto last = candidates.end();
  double sum_kept = 0;
  while (last - first > 1) {
    const auto middle = first + (last - first) / 2;
    std::nth_element(first, middle, last, by_logit(logits_));
    const double sum_half =
        std::accumulate(first, middle, 0.0, [&](double part, uint32_t id) { return part + weights_[id]; });
    if (sum_kept + sum_half >= wanted) {
      last = middle;
    } else {
      sum_kept += sum_half;
      first = middle;
    }
  }
  for (; last != candidates.end(); ++last) weights_[*last] = 0;
}

double TokenFilter::total() const {
  return std::accumulate(weights_.begin(), weights_.end(), 0.0);
}

uint32_t TokenFilter::pick(double draw) const {
  const double target = draw * total();
  double sum = 0;
  for (uint32_t id = 0; id < weights_.size(); ++id) {
    sum += weights_[id];
    if (sum > target) return id;
  }
  // Only for a draw so near to 1 that the product was rounded to the total.
  return best_;
}

}  // namespace octet::kernels
