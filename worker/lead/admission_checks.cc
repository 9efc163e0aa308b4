#include "worker/lead/admission_checks.h"

#include <algorithm>
#include <limits>
#include <span>
#include <sstream>
#include <string_view>

namespace octet::worker {
namespace {

template <typename... Parts>
std::optional<Refusal> invalid(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  return Refusal{.kind = Refusal::Kind::kInvalid, .message = message.str()};
}

std::optional<Refusal> refuse_tokens(std::string_view field, std::span<const TokenId> tokens,
                                     uint32_t vocab_size) {
  const auto outside =
      std::find_if(tokens.begin(), tokens.end(), [&](TokenId token) { return token >= vocab_size; });
  if (outside == tokens.end()) return std::nullopt;
  return invalid(field, ": token id ", *outside, " at index ", outside - tokens.begin(),
                 " is outside the vocabulary of ", vocab_size);
}

std::optional<Refusal> refuse_lengths(const NewSequence& sequence, const SchedulerConfig& config) {
  const uint64_t num_prompt = sequence.prompt.size();
  const uint64_t num_generated = sequence.generated.size();
  if (num_prompt == 0) return invalid("prompt_tokens: at least 1 token is needed, 0 given");
  if (num_prompt + num_generated >= config.max_model_len) {
    return invalid("prompt_tokens: ", num_prompt, " prompt tokens and ", num_generated,
                   " generated ones leave no room in the context of ", config.max_model_len, " tokens");
  }
  if (sequence.max_tokens == 0) return invalid("max_tokens: at least 1 is needed, 0 given");
  if (num_generated >= sequence.max_tokens) {
    return invalid("max_tokens: ", sequence.max_tokens, " given, and ", num_generated,
                   " tokens are generated already");
  }
  const uint64_t most_tokens = std::min<uint64_t>(num_prompt + sequence.max_tokens, config.max_model_len);
  const uint64_t num_blocks = (most_tokens + config.block_size - 1) / config.block_size;
  if (num_blocks > config.num_blocks) {
    return invalid("max_tokens: ", num_prompt, " prompt tokens with max_tokens ", sequence.max_tokens,
                   " need ", num_blocks, " blocks of ", config.block_size, " tokens, and the KV cache has ",
                   config.num_blocks);
  }
  return std::nullopt;
}

// low <= value <= high, which is false for NaN.
std::optional<Refusal> refuse_outside(std::string_view field, float value, float low, float high) {
  if (value >= low && value <= high) return std::nullopt;
  return invalid(field, ": must be between ", low, " and ", high, ", given ", value);
}

std::optional<Refusal> refuse_count(std::string_view field, const std::optional<uint32_t>& count,
                                    uint32_t vocab_size) {
  if (!count.has_value() || *count <= vocab_size) return std::nullopt;
  return invalid(field, ": at most the vocabulary's ", vocab_size, " alternatives, given ", *count);
}

std::optional<Refusal> refuse_biases(const SamplingParams& sampling, uint32_t vocab_size) {
  for (const auto& [token, bias] : sampling.logit_bias) {
    if (auto refusal = refuse_tokens("sampling.logit_bias", std::span(&token, 1), vocab_size)) return refusal;
    // Minus infinity bans a token; the other two would make the logits NaN.
    if (!(bias < std::numeric_limits<float>::infinity())) {
      return invalid("sampling.logit_bias: the bias of token ", token, " must be a number, given ", bias);
    }
  }
  for (const std::vector<TokenId>& word : sampling.bad_words) {
    if (word.empty()) return invalid("sampling.bad_words: a bad word needs at least 1 token, 0 given");
    if (auto refusal = refuse_tokens("sampling.bad_words", word, vocab_size)) return refusal;
  }
  if (sampling.constraint) {
    auto refusal =
        refuse_tokens("sampling.constraint.end_token_ids", sampling.constraint->end_tokens, vocab_size);
    if (refusal) return refusal;
  }
  return refuse_tokens("sampling.suppressed_before_min_tokens", sampling.suppressed_before_min_tokens,
                       vocab_size);
}

std::optional<Refusal> refuse_sampling(const SamplingParams& sampling, uint32_t vocab_size) {
  constexpr float kMax = std::numeric_limits<float>::max();
  constexpr float kMinPositive = std::numeric_limits<float>::min();
  if (auto r = refuse_outside("sampling.temperature", sampling.temperature, 0, kMax)) return r;
  if (auto r = refuse_outside("sampling.top_p", sampling.top_p, kMinPositive, 1)) return r;
  if (auto r = refuse_outside("sampling.min_p", sampling.min_p, 0, 1)) return r;
  if (auto r =
          refuse_outside("sampling.repetition_penalty", sampling.repetition_penalty, kMinPositive, kMax)) {
    return r;
  }
  if (auto r = refuse_outside("sampling.presence_penalty", sampling.presence_penalty, -kMax, kMax)) return r;
  if (auto r = refuse_outside("sampling.frequency_penalty", sampling.frequency_penalty, -kMax, kMax))
    return r;
  if (auto r = refuse_count("sampling.logprobs", sampling.logprobs, vocab_size)) return r;
  if (auto r = refuse_count("sampling.prompt_logprobs", sampling.prompt_logprobs, vocab_size)) return r;
  return refuse_biases(sampling, vocab_size);
}

}  // namespace

std::optional<Refusal> refuse_invalid(const NewSequence& sequence, const SchedulerConfig& config) {
  if (auto refusal = refuse_lengths(sequence, config)) return refusal;
  if (sequence.cache_salt.size() > kMaxCacheSaltBytes) {
    return invalid("cache_salt: at most ", kMaxCacheSaltBytes, " bytes, given ", sequence.cache_salt.size());
  }
  if (auto refusal = refuse_tokens("prompt_tokens", sequence.prompt, config.vocab_size)) return refusal;
  if (auto refusal = refuse_tokens("generated_tokens", sequence.generated, config.vocab_size)) return refusal;
  if (auto refusal = refuse_tokens("stop_token_ids", sequence.stop_token_ids, config.vocab_size))
    return refusal;
  return refuse_sampling(sequence.sampling, config.vocab_size);
}

}  // namespace octet::worker
