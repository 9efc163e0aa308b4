#include "worker/rpc/convert_fields.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/byte_automaton.h"
#include "base/status.h"

namespace octet::worker {
namespace {

constexpr int kMaxLogitBiases = 1024;
constexpr int kMaxBadWords = 64;
constexpr int kMaxBadWordTokens = 1024;

// Both ends are allowed, except a lower end that `open_below` excludes. NaN is in no range.
struct FloatField {
  const char* name;
  float value;
  float min;
  float max;
  bool open_below = false;
};

absl::Status check_float(const FloatField& field) {
  const bool inside = field.open_below ? field.value > field.min : field.value >= field.min;
  if (inside && field.value <= field.max) return absl::OkStatus();
  return invalid_field(field.name,
                       absl::StrCat("must be ", field.open_below ? "above " : "at least ", field.min,
                                    " and at most ", field.max, ", given ", field.value));
}

absl::Status check_constraint(const v1::TokenConstraint& message, const WireLimits& limits) {
  if (message.automaton().size() > kMaxAutomatonBytes) {
    return invalid_field(
        "sampling.constraint.automaton",
        absl::StrCat("at most ", kMaxAutomatonBytes, " bytes, given ", message.automaton().size()));
  }
  return check_tokens("sampling.constraint.end_token_ids", message.end_token_ids(), kMaxStopTokens,
                      limits.vocab_size);
}

absl::Status check_sampling(const v1::SequenceSampling& message, const WireLimits& limits) {
  for (const FloatField& field : {
           FloatField{"sampling.temperature", message.temperature(), 0, 100},
           FloatField{"sampling.top_p", message.top_p(), 0, 1, true},
           FloatField{"sampling.min_p", message.min_p(), 0, 1},
           FloatField{"sampling.repetition_penalty", message.repetition_penalty(), 0, 100, true},
           FloatField{"sampling.presence_penalty", message.presence_penalty(), -2, 2},
           FloatField{"sampling.frequency_penalty", message.frequency_penalty(), -2, 2},
       }) {
    if (absl::Status status = check_float(field); !status.ok()) return status;
  }
  if (message.logit_bias_size() > kMaxLogitBiases) {
    return too_many("sampling.logit_bias", kMaxLogitBiases, message.logit_bias_size());
  }
  for (const auto& [token, bias] : message.logit_bias()) {
    if (token >= limits.vocab_size) {
      return invalid_field(
          "sampling.logit_bias",
          absl::StrCat("token id ", token, " is outside the vocabulary of ", limits.vocab_size));
    }
    const absl::Status status = check_float({"sampling.logit_bias", bias, -100, 100});
    if (!status.ok()) return status;
  }
  if (message.bad_words_size() > kMaxBadWords) {
    return too_many("sampling.bad_words", kMaxBadWords, message.bad_words_size());
  }
  for (const v1::TokenIds& word : message.bad_words()) {
    if (word.ids().empty()) return invalid_field("sampling.bad_words", "an entry has no tokens");
    const absl::Status status =
        check_tokens("sampling.bad_words", word.ids(), kMaxBadWordTokens, limits.vocab_size);
    if (!status.ok()) return status;
  }
  if (message.logprobs() > kMaxTopLogprobs)
    return above("sampling.logprobs", kMaxTopLogprobs, message.logprobs());
  if (message.prompt_logprobs() > kMaxTopLogprobs) {
    return above("sampling.prompt_logprobs", kMaxTopLogprobs, message.prompt_logprobs());
  }
  if (const absl::Status status = check_constraint(message.constraint(), limits); !status.ok()) return status;
  return check_tokens("sampling.suppressed_before_min_tokens", message.suppressed_before_min_tokens(),
                      kMaxStopTokens, limits.vocab_size);
}

absl::StatusOr<RepetitionRule> from_proto(v1::RepetitionRule rule) {
  switch (rule) {
    case v1::REPETITION_RULE_UNSPECIFIED:
    case v1::REPETITION_RULE_DIVIDE_OR_MULTIPLY:
      return RepetitionRule::kDivideOrMultiply;
    case v1::REPETITION_RULE_DIVIDE:
      return RepetitionRule::kDivide;
    default:
      return invalid_field("sampling.repetition_rule",
                           absl::StrCat("unknown value ", static_cast<int>(rule)));
  }
}

}  // namespace

absl::Status too_many(const std::string& field, int64_t limit, int64_t given) {
  return invalid_field(field, absl::StrCat("at most ", limit, " entries, given ", given));
}

absl::Status above(const std::string& field, uint64_t limit, uint64_t given) {
  return invalid_field(field, absl::StrCat("at most ", limit, ", given ", given));
}

absl::Status check_tokens(const std::string& field, const Uint32s& tokens, int64_t max_tokens,
                          uint32_t vocab_size) {
  if (tokens.size() > max_tokens) return too_many(field, max_tokens, tokens.size());
  for (const uint32_t token : tokens) {
    if (token >= vocab_size) {
      return invalid_field(field,
                           absl::StrCat("token id ", token, " is outside the vocabulary of ", vocab_size));
    }
  }
  return absl::OkStatus();
}

std::vector<uint32_t> to_vector(const Uint32s& values) {
  return {values.begin(), values.end()};
}

void append(const std::vector<uint32_t>& values, Uint32s* to) {
  to->Add(values.begin(), values.end());
}

absl::StatusOr<SamplingParams> from_proto(const v1::SequenceSampling& message, const WireLimits& limits) {
  if (absl::Status status = check_sampling(message, limits); !status.ok()) return status;
  const absl::StatusOr<RepetitionRule> rule = from_proto(message.repetition_rule());
  if (!rule.ok()) return rule.status();
  SamplingParams sampling;
  sampling.temperature = message.temperature();
  sampling.top_k = message.top_k();
  sampling.top_p = message.top_p();
  sampling.min_p = message.min_p();
  sampling.repetition_penalty = message.repetition_penalty();
  sampling.repetition_rule = *rule;
  sampling.presence_penalty = message.presence_penalty();
  sampling.frequency_penalty = message.frequency_penalty();
  sampling.logit_bias.assign(message.logit_bias().begin(), message.logit_bias().end());
  std::sort(sampling.logit_bias.begin(), sampling.logit_bias.end());
  for (const v1::TokenIds& word : message.bad_words()) sampling.bad_words.push_back(to_vector(word.ids()));
  sampling.seed = message.seed();
  sampling.choice_index = message.choice_index();
  sampling.suppressed_before_min_tokens = to_vector(message.suppressed_before_min_tokens());
  sampling.min_tokens = message.min_tokens();
  if (message.has_logprobs()) sampling.logprobs = message.logprobs();
  if (message.has_prompt_logprobs()) sampling.prompt_logprobs = message.prompt_logprobs();
  if (message.has_constraint()) {
    sampling.constraint.emplace();
    sampling.constraint->automaton = std::make_shared<const std::string>(message.constraint().automaton());
    sampling.constraint->end_tokens = to_vector(message.constraint().end_token_ids());
    sampling.constraint->begins_text = message.constraint().begins_text();
  }
  return sampling;
}

void to_proto(const SamplingParams& sampling, v1::SequenceSampling* message) {
  message->set_temperature(sampling.temperature);
  message->set_top_k(sampling.top_k);
  message->set_top_p(sampling.top_p);
  message->set_min_p(sampling.min_p);
  message->set_repetition_penalty(sampling.repetition_penalty);
  message->set_repetition_rule(sampling.repetition_rule == RepetitionRule::kDivide
                                   ? v1::REPETITION_RULE_DIVIDE
                                   : v1::REPETITION_RULE_DIVIDE_OR_MULTIPLY);
  message->set_presence_penalty(sampling.presence_penalty);
  message->set_frequency_penalty(sampling.frequency_penalty);
  for (const auto& [token, bias] : sampling.logit_bias) (*message->mutable_logit_bias())[token] = bias;
  for (const auto& word : sampling.bad_words) append(word, message->add_bad_words()->mutable_ids());
  message->set_seed(sampling.seed);
  message->set_choice_index(sampling.choice_index);
  append(sampling.suppressed_before_min_tokens, message->mutable_suppressed_before_min_tokens());
  message->set_min_tokens(sampling.min_tokens);
  if (sampling.logprobs) message->set_logprobs(*sampling.logprobs);
  if (sampling.prompt_logprobs) message->set_prompt_logprobs(*sampling.prompt_logprobs);
  if (sampling.constraint) {
    v1::TokenConstraint* const constraint = message->mutable_constraint();
    constraint->set_automaton(*sampling.constraint->automaton);
    append(sampling.constraint->end_tokens, constraint->mutable_end_token_ids());
    constraint->set_begins_text(sampling.constraint->begins_text);
  }
}

void to_proto(const ScoredToken& token, v1::ScoredToken* message) {
  message->set_token_id(token.token);
  message->set_logprob(token.logprob);
  append(token.top_tokens, message->mutable_top_token_ids());
  message->mutable_top_logprobs()->Add(token.top_logprobs.begin(), token.top_logprobs.end());
}

absl::StatusOr<ScoredToken> from_proto(const v1::ScoredToken& message, const WireLimits& limits) {
  if (message.token_id() >= limits.vocab_size) {
    return invalid_field("token_id", absl::StrCat("token id ", message.token_id(),
                                                  " is outside the vocabulary of ", limits.vocab_size));
  }
  if (message.top_token_ids_size() != message.top_logprobs_size()) {
    return invalid_field("top_logprobs", absl::StrCat(message.top_logprobs_size(), " values for ",
                                                      message.top_token_ids_size(), " tokens"));
  }
  const absl::Status status =
      check_tokens("top_token_ids", message.top_token_ids(), kMaxTopLogprobs, limits.vocab_size);
  if (!status.ok()) return status;
  ScoredToken token;
  token.token = message.token_id();
  token.logprob = message.logprob();
  token.top_tokens = to_vector(message.top_token_ids());
  token.top_logprobs.assign(message.top_logprobs().begin(), message.top_logprobs().end());
  return token;
}

}  // namespace octet::worker
