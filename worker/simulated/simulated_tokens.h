// What a simulated pipeline answers, so that whoever knows a prompt's tokens can verify every token of an
// answer:
//
//   name(prompt)      = prefix_hash(prefix_root("simulated"), prompt tokens)           base/prefix_hash.h
//   draw(prompt, p)   = prefix_hash(name(prompt), {p})            p: the token's position, from the prompt's
//   start token(prompt, p)  = eos                                       where draw % 128 is 0
//                       V / 2 + (draw / 256) % (V - V / 2)        elsewhere; V: the size of the vocabulary
//
// In the upper half of the vocabulary are neither control nor byte pieces, so each token is text by itself.
// Where the end is suppressed (min_tokens) the second line holds. Nothing else of the request counts: not the
// seed, nor the temperature, nor which choice it is. tests/testing/simulated_tokens.py is the same in Python.
#pragma once

#include <cstdint>
#include <span>

#include "base/prefix_hash.h"
#include "worker/batch/tokens.h"

namespace octet::worker {

struct SimulatedVocabulary {
  uint32_t size = 0;  // at least 1
  TokenId eos = 0;
};

inline uint64_t simulated_name(std::span<const TokenId> prompt) {
  return prefix_hash(prefix_root("simulated"), prompt);
}

inline uint64_t simulated_draw(uint64_t name, uint32_t position) {
  return prefix_hash(name, std::span(&position, 1));
}

inline bool simulated_end(uint64_t draw) {
  return draw % 128 == 0;
}

// The token where the answer does not end.
inline TokenId simulated_text(uint64_t draw, uint32_t vocab_size) {
  return vocab_size / 2 + static_cast<TokenId>((draw / 256) % (vocab_size - vocab_size / 2));
}

inline TokenId simulated_token(uint64_t draw, const SimulatedVocabulary& vocabulary, bool may_end) {
  return may_end && simulated_end(draw) ? vocabulary.eos : simulated_text(draw, vocabulary.size);
}

}  // namespace octet::worker
