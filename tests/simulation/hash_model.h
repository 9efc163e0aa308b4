// The fake model of the simulation: a token is a hash of its sequence's prompt, seed and choice, and of its
// position, so whoever knows a request knows its answer. worker/simulated/simulated_tokens.h draws the
// tokens.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/prefix_hash.h"
#include "worker/batch/sampling_params.h"
#include "worker/batch/tokens.h"
#include "worker/simulated/simulated_tokens.h"

namespace octet::simulation {

struct HashModel {
  worker::SimulatedVocabulary vocabulary;

  static uint64_t name(std::span<const worker::TokenId> prompt, uint64_t seed, uint32_t choice_index) {
    const std::array<uint32_t, 3> rest = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                                          choice_index};
    return prefix_hash(worker::simulated_name(prompt), rest);
  }
  static float logprob(uint64_t draw) { return -static_cast<float>(draw >> 52) / 1024; }

  // The token at a position of the sequence with this name. may_end: it is late enough for the end of
  // sequence.
  worker::ScoredToken sample(uint64_t name, uint32_t position, bool may_end,
                             std::optional<uint32_t> num_top) const {
    const uint64_t draw = worker::simulated_draw(name, position);
    worker::ScoredToken scored = score(worker::simulated_token(draw, vocabulary, may_end), draw, num_top);
    if (!num_top) scored.logprob = 0;
    return scored;
  }

  // What the prompt's token at a position scores.
  worker::ScoredToken score_prompt(worker::TokenId token, uint64_t name, uint32_t position,
                                   std::optional<uint32_t> num_top) const {
    return score(token, worker::simulated_draw(name, position), num_top);
  }

 private:
  worker::ScoredToken score(worker::TokenId token, uint64_t draw, std::optional<uint32_t> num_top) const {
    worker::ScoredToken scored;
    scored.token = token;
    scored.logprob = logprob(draw);
    for (uint32_t i = 0; i < num_top.value_or(0); ++i) {
      scored.top_tokens.push_back((token + i) % vocabulary.size);
      scored.top_logprobs.push_back(scored.logprob - static_cast<float>(i));
    }
    return scored;
  }
};

}  // namespace octet::simulation
