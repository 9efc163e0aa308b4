// Which of several pipelines gets a request. Values in, a choice out: who measures the loads is
// PipelineClient's, who keeps the pipelines is PipelinePool's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace octet::router {

// What a pipeline has to do, over all routers, as far as it is known.
struct PipelineLoad {
  uint64_t num_sequences = 0;      // running or waiting
  uint64_t num_prompt_tokens = 0;  // not computed yet
  // Tokens that fit into the free blocks of its KV cache; absent while unknown.
  std::optional<uint64_t> num_free_tokens;

  // One number for all of it. Nobody knows how much a sequence will still generate, so each counts alike.
  uint64_t outstanding_tokens() const { return num_prompt_tokens + kTokensOfASequence * num_sequences; }
  static constexpr uint64_t kTokensOfASequence = 64;
};

// How much one pipeline is given at most. Enough that it never idles and little enough that what waits, waits
// in the router, where tenants and priorities are weighed.
struct RoomLimits {
  uint64_t max_sequences = 256;
  uint64_t max_prompt_tokens = 8192;
};

// What a request asks of one pipeline.
struct Demand {
  uint64_t num_sequences = 1;
  uint64_t num_prompt_tokens = 0;   // of each, with what was generated elsewhere
  std::optional<uint64_t> session;  // its hash
};

struct Candidate {
  uint64_t name = 0;  // a hash, the same in every router
  PipelineLoad load;
  uint64_t num_cached_tokens = 0;  // of the prompt, from its beginning, in the prefix cache
  bool avoid = false;              // to be taken only when no other one has room
};

// A pipeline with nothing to do has room for anything.
bool has_room(const PipelineLoad& load, const Demand& demand, const RoomLimits& limits);

// The index of a candidate with room; absent when none has. First among those that have not clearly more than
// the average to do: where most of the prompt is cached, and among equals where its session ranks its
// pipelines first (rendezvous hashing: every router ranks alike, and a pipeline that comes or goes moves no
// session but its own). With neither, the less loaded one of two drawn at random, so that routers with the
// same news do not all choose the same (Mitzenmacher 2001).
// random: 64 random bits.
std::optional<size_t> select(std::span<const Candidate> candidates, const Demand& demand,
                             const RoomLimits& limits, uint64_t random);

// For names and sessions: FNV-1a with a finaliser.
uint64_t hash_of(std::string_view text);

}  // namespace octet::router
