#include "router/routing/selector.h"

#include <algorithm>
#include <vector>

namespace octet::router {
namespace {

// Affinity ends at this much above the average load, and at a few sequences however low that is.
constexpr double kMaxOfAverage = 1.25;
constexpr double kSlackTokens = 256;

// The finaliser of splitmix64 (Steele et al. 2014): every bit of the result depends on every bit of x.
uint64_t mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9;
  x ^= x >> 27;
  x *= 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// A number below n from 32 random bits.
size_t below(size_t n, uint32_t random) {
  return (uint64_t{random} * n) >> 32;
}

uint64_t tokens_of(const Candidate& candidate) {
  return candidate.load.outstanding_tokens();
}

double affinity_bound(std::span<const Candidate> candidates, const Demand& demand) {
  double sum = static_cast<double>(demand.num_sequences *
                                   (demand.num_prompt_tokens + PipelineLoad::kTokensOfASequence));
  for (const Candidate& each : candidates) sum += static_cast<double>(tokens_of(each));
  return kMaxOfAverage * sum / static_cast<double>(candidates.size()) + kSlackTokens;
}

std::vector<size_t> not_overloaded(std::span<const Candidate> candidates, const std::vector<size_t>& among,
                                   const Demand& demand) {
  const double bound = affinity_bound(candidates, demand);
  std::vector<size_t> result;
  for (const size_t i : among) {
    if (static_cast<double>(tokens_of(candidates[i])) <= bound) result.push_back(i);
  }
  return result;
}

// Returns whether any has something cached.
bool keep_most_cached(std::span<const Candidate> candidates, std::vector<size_t>& among) {
  uint64_t most = 0;
  for (const size_t i : among) most = std::max(most, candidates[i].num_cached_tokens);
  std::erase_if(among, [&](size_t i) { return candidates[i].num_cached_tokens < most; });
  return most > 0;
}

size_t less_loaded_of_two(std::span<const Candidate> candidates, const std::vector<size_t>& among,
                          uint64_t random) {
  if (among.size() == 1) return among.front();
  const size_t a = below(among.size(), static_cast<uint32_t>(random >> 32));
  size_t b = below(among.size() - 1, static_cast<uint32_t>(random));
  if (b >= a) ++b;
  return tokens_of(candidates[among[b]]) < tokens_of(candidates[among[a]]) ? among[b] : among[a];
}

}  // namespace

bool has_room(const PipelineLoad& load, const Demand& demand, const RoomLimits& limits) {
  if (load.num_sequences == 0) return true;
  const uint64_t num_tokens = demand.num_sequences * demand.num_prompt_tokens;
  if (load.num_sequences + demand.num_sequences > limits.max_sequences) return false;
  if (load.num_prompt_tokens > 0 && load.num_prompt_tokens + num_tokens > limits.max_prompt_tokens)
    return false;
  return !load.num_free_tokens || *load.num_free_tokens >= num_tokens;
}

std::optional<size_t> select(std::span<const Candidate> candidates, const Demand& demand,
                             const RoomLimits& limits, uint64_t random) {
  std::vector<size_t> with_room;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (has_room(candidates[i].load, demand, limits)) with_room.push_back(i);
  }
  if (with_room.empty()) return std::nullopt;
  if (with_room.size() > 1) std::erase_if(with_room, [&](size_t i) { return candidates[i].avoid; });
  std::vector<size_t> preferred = not_overloaded(candidates, with_room, demand);
  const bool any_cached = keep_most_cached(candidates, preferred);
  if (demand.session && !preferred.empty()) {
    const auto rank = [&](size_t i) { return mix(candidates[i].name ^ *demand.session); };
    return *std::max_element(preferred.begin(), preferred.end(),
                             [&](size_t a, size_t b) { return rank(a) < rank(b); });
  }
  return less_loaded_of_two(candidates, any_cached ? preferred : with_room, random);
}

uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return mix(hash);
}

}  // namespace octet::router
