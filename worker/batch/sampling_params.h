// How one sequence's tokens are chosen; every default is resolved by the router, so each field is in range.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "worker/batch/token_constraint.h"
#include "worker/batch/tokens.h"

namespace octet::worker {

enum class RepetitionRule {
  kDivideOrMultiply,  // positive logits divided, negative multiplied (CTRL, Keskar et al. 2019); prompt and
                      // output
  kDivide,            // every logit divided; prompt after its first token, and output (NeMo's server)
};

struct SamplingParams {
  float temperature = 1;  // 0 is greedy
  uint32_t top_k = 0;     // 0 keeps all
  float top_p = 1;        // 1 keeps all
  float min_p = 0;        // 0 keeps all
  float repetition_penalty = 1;
  RepetitionRule repetition_rule = RepetitionRule::kDivideOrMultiply;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  std::vector<std::pair<TokenId, float>> logit_bias;  // by rising token id
  std::vector<std::vector<TokenId>> bad_words;        // the last token of each is banned after its others
  uint64_t seed = 0;
  uint32_t choice_index = 0;
  std::vector<TokenId> suppressed_before_min_tokens;
  uint32_t min_tokens = 0;
  std::optional<uint32_t> logprobs;         // alternatives to return with each output token
  std::optional<uint32_t> prompt_logprobs;  // the same for prompt tokens
  std::optional<TokenConstraint> constraint = std::nullopt;

  bool operator==(const SamplingParams&) const = default;
};

}  // namespace octet::worker
