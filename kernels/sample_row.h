// What Backend::sample() is told of a row of logits besides the logits, and what it answers.
//
// The order of the steps is vLLM's:
// 1. On the raw logits: the row's edits, each a bias and then the penalties; tokens that are not allowed are
//    banned.
// 2. With temperature 0 the largest logit wins, the lowest id among equal ones.
// 3. Otherwise temperature, top_k, min_p, top_p, and one draw by inverse CDF over the tokens that are left,
//    in order of their ids (philox.h).
// Ties are broken by the lowest id everywhere, so exactly top_k tokens are left and top_k 1 is greedy. Where
// bans leave nothing, the largest raw logit of the allowed tokens is taken, or of all if none is allowed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace octet::kernels {

// Alternatives of a row's log-probability, at most, on devices with memory of their own; CPUs give any
// number.
inline constexpr uint32_t kMaxTopTokens = 20;

// How the logit of one token is changed. It stays within the finite numbers, so that no bias or penalty makes
// a NaN of it; a banned token stays banned.
struct LogitEdit {
  uint32_t token = 0;
  float bias = 0;              // is added; minus infinity bans the token
  bool penalized = false;      // by the repetition penalty
  uint32_t num_generated = 0;  // above 0: by the presence penalty, and by the frequency penalty for each
};

struct SampleRow {
  // What is asked for: the log-probability of this token; nothing: that a token is chosen.
  std::optional<uint32_t> scored_token;
  float temperature = 1;  // 0 is greedy
  uint32_t top_k = 0;     // 0 keeps all
  float top_p = 1;        // 1 keeps all
  float min_p = 0;        // 0 keeps all
  float repetition_penalty = 1;
  bool always_divides = false;  // the repetition penalty; else it multiplies logits that are not above 0
  float presence_penalty = 0;
  float frequency_penalty = 0;
  std::span<const LogitEdit> edits;   // by rising token, each once
  std::span<const uint32_t> allowed;  // [ceil(vocab_size / 32)], bit i % 32 of word i / 32 for token i;
                                      // empty: all are
  uint64_t seed = 0;                  // these three number the draw, see philox.h
  uint32_t choice_index = 0;
  uint32_t position = 0;
  // Alternatives to the token; nothing: no log-probability is asked for.
  std::optional<uint32_t> num_top;
};

// Log-probabilities are of the raw logits: natural logarithms, before temperature, penalties and filters.
struct SampledToken {
  bool is_finite = false;  // false: the logits hold NaN or infinity, and nothing else is set
  uint32_t token = 0;
  float logprob = 0;                 // 0 where none is asked for
  std::vector<uint32_t> top_tokens;  // as many as are asked for or the vocabulary has, the likeliest first,
                                     // equal ones by rising id
  std::vector<float> top_logprobs;   // [top_tokens.size()]
};

}  // namespace octet::kernels
