#include "router/request/validate_sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/request/field_checks.h"
#include "router/request/random_bits.h"

namespace octet::router {
namespace {

// A drawn seed is a whole number that JavaScript holds too: a client can send back what an answer told it.
constexpr uint64_t kMaxDrawnSeed = (uint64_t{1} << 53) - 1;

// A double of (0, max] as a float that is not 0 either and by which a logit can be divided.
float positive_float(double value) {
  return std::max(static_cast<float>(value), 1e-30F);
}

absl::Status read_filters(const RequestDraft& draft, uint32_t vocab_size, Sampling& sampling) {
  const auto temperature = number_in("temperature", draft.temperature, 1, 0, 100);
  if (!temperature.ok()) return temperature.status();
  sampling.temperature = *temperature < kMinTemperature ? 0 : static_cast<float>(*temperature);

  const auto top_k = integer_in("top_k", draft.top_k, 0, 0, std::numeric_limits<int64_t>::max());
  if (!top_k.ok()) return top_k.status();
  sampling.top_k = static_cast<uint32_t>(std::min<int64_t>(*top_k, vocab_size));

  const auto top_p = number_in("top_p", draft.top_p, 1, 0, 1, LowerEnd::kExcluded);
  if (!top_p.ok()) return top_p.status();
  sampling.top_p = positive_float(*top_p);

  const auto min_p = number_in("min_p", draft.min_p, 0, 0, 1);
  if (!min_p.ok()) return min_p.status();
  sampling.min_p = static_cast<float>(*min_p);
  return absl::OkStatus();
}

absl::Status read_penalties(const RequestDraft& draft, Sampling& sampling) {
  const auto repetition =
      number_in("repetition_penalty", draft.repetition_penalty, 1, 0, 100, LowerEnd::kExcluded);
  if (!repetition.ok()) return repetition.status();
  sampling.repetition_penalty = positive_float(*repetition);
  sampling.repetition_rule = draft.repetition_rule;

  const auto presence = number_in("presence_penalty", draft.presence_penalty, 0, -2, 2);
  if (!presence.ok()) return presence.status();
  sampling.presence_penalty = static_cast<float>(*presence);

  const auto frequency = number_in("frequency_penalty", draft.frequency_penalty, 0, -2, 2);
  if (!frequency.ok()) return frequency.status();
  sampling.frequency_penalty = static_cast<float>(*frequency);
  return absl::OkStatus();
}

absl::Status read_logit_bias(const RequestDraft& draft, const ValidationContext& context,
                             Sampling& sampling) {
  absl::Status size = check_num_entries("logit_bias", draft.logit_bias.size(), context.limits.max_logit_bias);
  if (!size.ok()) return size;
  for (const auto& [id, bias] : draft.logit_bias) {
    absl::Status known =
        check_token_id("logit_bias", sampling.logit_bias.size(), id, context.model.vocab_size);
    if (!known.ok()) return known;
    if (!(bias >= -100 && bias <= 100)) {  // NaN fails
      return invalid_field("logit_bias",
                           absl::StrCat("the bias of token id ", id, " must be from -100 to 100; is ", bias));
    }
    sampling.logit_bias.emplace_back(static_cast<TokenId>(id), static_cast<float>(bias));
  }
  return absl::OkStatus();
}

// A word stands at the start of a line or after a space, which makes other tokens. The second form is left
// out where it is the first one with a space token before it: banning the first bans it too.
void add_bad_word(const std::string& word, const Tokenizer& tokenizer, Sampling& sampling) {
  std::vector<TokenId> bare = tokenizer.encode_continuation(word);
  std::vector<TokenId> spaced = tokenizer.encode_continuation(absl::StrCat(" ", word));
  const bool implied =
      spaced.size() >= bare.size() && std::equal(bare.rbegin(), bare.rend(), spaced.rbegin());
  sampling.bad_words.push_back(std::move(bare));
  if (!implied) sampling.bad_words.push_back(std::move(spaced));
}

absl::Status read_bad_words(const RequestDraft& draft, const ValidationContext& context, Sampling& sampling) {
  absl::Status size = check_num_entries("bad_words", draft.bad_words.size(), context.limits.max_bad_words);
  if (!size.ok()) return size;
  for (size_t i = 0; i < draft.bad_words.size(); ++i) {
    const std::string& word = draft.bad_words[i];
    absl::Status checked = check_string("bad_words", i, word, context.limits.max_bad_word_bytes);
    if (!checked.ok()) return checked;
    add_bad_word(word, *context.tokenizer, sampling);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Sampling> validate_sampling(const RequestDraft& draft, const ValidationContext& context) {
  Sampling sampling;
  absl::Status status = read_filters(draft, context.model.vocab_size, sampling);
  if (status.ok()) status = read_penalties(draft, sampling);
  if (status.ok()) status = read_logit_bias(draft, context, sampling);
  if (status.ok()) status = read_bad_words(draft, context, sampling);
  if (!status.ok()) return status;
  sampling.seed = draft.seed ? *draft.seed : random_bits() & kMaxDrawnSeed;
  return sampling;
}

}  // namespace octet::router
