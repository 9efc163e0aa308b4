#include "tests/simulation/call.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/generation/choice.h"
#include "tests/simulation/checks.h"
#include "tests/simulation/runtime.h"

namespace octet::simulation {
namespace {

using router::FinishReason;
using router::Piece;
using router::TokenLogprob;

TokenLogprob to_client(const worker::ScoredToken& scored) {
  TokenLogprob token{.token = scored.token, .logprob = scored.logprob, .top = {}};
  for (size_t i = 0; i < scored.top_tokens.size(); ++i)
    token.top.emplace_back(scored.top_tokens[i], scored.top_logprobs[i]);
  return token;
}

bool equal(const TokenLogprob& a, const TokenLogprob& b) {
  return a.token == b.token && a.logprob == b.logprob && a.top == b.top;
}

}  // namespace

Call::Call(std::string name, router::ValidatedRequest request, const ClientModel& model, const Rules& rules)
    : name_(std::move(name)), request_(std::move(request)), model_(model), rules_(rules) {
  for (uint32_t i = 0; i < request_.num_choices; ++i) choices_.push_back(expect(i));
}

template <typename... Parts>
void Call::wrong(const Parts&... parts) const {
  checks().violation(absl::StrCat("request ", name_, ": ", parts...));
}

// The choice alone: the model's tokens through the router's own text state, as if they came one by one.
Call::Choice Call::expect(uint32_t index) const {
  Choice result;
  router::Choice text(model_.tokenizer, request_, index);
  const uint64_t name = HashModel::name(request_.prompt, request_.sampling.seed, index);
  const auto& stops = request_.stop_token_ids;
  const auto& suppressed = request_.suppressed_before_min_tokens.value_or(stops);
  const bool suppresses_end =
      std::find(suppressed.begin(), suppressed.end(), model_.hash.vocabulary.eos) != suppressed.end();
  const auto num_prompt = static_cast<uint32_t>(request_.prompt.size());
  FinishReason reason = FinishReason::kLength;
  for (uint32_t i = 0; i < request_.max_tokens && num_prompt + i < model_.max_model_len; ++i) {
    const bool may_end = i >= request_.min_tokens || !suppresses_end;
    const TokenLogprob token =
        to_client(model_.hash.sample(name, num_prompt + i, may_end, request_.logprobs));
    result.expected_tokens.push_back(token);
    const bool ends = std::find(stops.begin(), stops.end(), token.token) != stops.end();
    if (ends) reason = FinishReason::kStop;
    ends ? text.add_stop_token(token) : text.add(token);
    if (ends || text.matched_stop()) break;
  }
  const Piece whole = text.finish(reason);
  result.expected_text = whole.text;
  result.expected_finish = *whole.finish;
  result.expected_stop = whole.stop_reason;
  return result;
}

void Call::started() {
  start_time_ = Runtime::current()->time();
}

void Call::end(Outcome outcome) {
  if (outcome_ != Outcome::kRunning) return;
  outcome_ = outcome;
  if (rules_.must_end_whole && outcome != Outcome::kWhole)
    wrong("is not whole, though nothing fails any more");
}

void Call::on_prompt_logprobs(std::vector<TokenLogprob> logprobs) {
  if (outcome_ != Outcome::kRunning) return wrong("hears more after its end");
  if (!request_.prompt_logprobs || std::exchange(has_prompt_logprobs_, true))
    return wrong("gets prompt log-probabilities unasked");
  const uint64_t name = HashModel::name(request_.prompt, request_.sampling.seed, 0);
  if (logprobs.size() + 1 != request_.prompt.size())
    return wrong("gets ", logprobs.size(), " prompt log-probabilities");
  for (uint32_t i = 1; i < request_.prompt.size(); ++i) {
    if (!equal(logprobs[i - 1],
               to_client(model_.hash.score_prompt(request_.prompt[i], name, i, request_.prompt_logprobs)))) {
      return wrong("gets a wrong prompt log-probability at position ", i);
    }
  }
}

void Call::on_piece(Piece piece) {
  if (outcome_ != Outcome::kRunning) return wrong("hears more after its end");
  if (request_.prompt_logprobs && !has_prompt_logprobs_)
    return wrong("gets text before its prompt's log-probabilities");
  if (piece.index >= choices_.size()) return wrong("has no choice ", piece.index);
  Choice& choice = choices_[piece.index];
  if (choice.finish) return wrong("choice ", piece.index, " goes on after its end");
  check_tokens(choice, piece);
  if (piece.finish) check_end(choice, piece);
  if (after_piece) after_piece();
}

void Call::check_tokens(Choice& choice, const Piece& piece) {
  if (request_.logprobs && piece.logprobs.size() != piece.tokens.size()) {
    return wrong("choice ", piece.index, " has ", piece.logprobs.size(), " log-probabilities for ",
                 piece.tokens.size(), " tokens");
  }
  for (size_t i = 0; i < piece.tokens.size(); ++i) {
    if (choice.num_tokens == choice.expected_tokens.size())
      return wrong("choice ", piece.index, " has too many tokens");
    const TokenLogprob& expected = choice.expected_tokens[choice.num_tokens++];
    ++num_tokens_;
    if (piece.tokens[i] != expected.token || (request_.logprobs && !equal(piece.logprobs[i], expected))) {
      return wrong("choice ", piece.index, " has token ", piece.tokens[i], " where ", expected.token,
                   " is due, number ", choice.num_tokens - 1);
    }
  }
  choice.text += piece.text;
  if (piece.finish != FinishReason::kDeadline &&
      choice.expected_text.compare(0, choice.text.size(), choice.text) != 0) {
    wrong("choice ", piece.index, " has other text than its tokens spell");
  }
}

void Call::check_end(const Choice& choice, const Piece& piece) {
  Choice& ended = choices_[piece.index];
  ended.finish = piece.finish;
  if (*piece.finish == FinishReason::kDeadline) {
    if (!deadline_has_passed()) wrong("choice ", piece.index, " ends by a deadline that has not come");
    return;
  }
  if (*piece.finish != choice.expected_finish || choice.num_tokens != choice.expected_tokens.size() ||
      choice.text != choice.expected_text || piece.stop_reason != choice.expected_stop) {
    wrong("choice ", piece.index, " ends after ", choice.num_tokens, " tokens, not ",
          choice.expected_tokens.size());
  }
}

void Call::on_done(const router::GenerationUsage& usage) {
  if (outcome_ != Outcome::kRunning) return wrong("ends twice");
  bool by_deadline = false;
  for (const Choice& choice : choices_) {
    if (!choice.finish) return wrong("is done before all its choices are");
    by_deadline = by_deadline || *choice.finish == FinishReason::kDeadline;
  }
  if (usage.completion_tokens != num_tokens_ || usage.prompt_tokens != request_.prompt.size())
    wrong("has a wrong usage");
  end(by_deadline ? Outcome::kDeadline : Outcome::kWhole);
}

void Call::on_error(const absl::Status& status) {
  if (outcome_ != Outcome::kRunning) return wrong("ends twice");
  checks().trace(absl::StrCat("request ", name_, " ends: ", status.ToString()));
  const bool admitted = Runtime::current()->time() > start_time_;
  switch (status.code()) {
    case absl::StatusCode::kDeadlineExceeded:
      if (!deadline_has_passed()) wrong("ends by a deadline that has not come");
      return end(Outcome::kDeadline);
    case absl::StatusCode::kResourceExhausted:
      if (!quota_of(status)) wrong("ends with ", status.ToString());
      return end(admitted ? Outcome::kDisplaced : Outcome::kRefused);
    case absl::StatusCode::kUnavailable:
      if (admitted) wrong("is lost: ", status.ToString());
      return end(admitted ? Outcome::kFailed : Outcome::kRefused);
    default:
      wrong("ends with ", status.ToString());
      return end(Outcome::kFailed);
  }
}

bool Call::deadline_has_passed() const {
  constexpr Duration kRounding = std::chrono::milliseconds(50);  // and clocks that drift
  return rules_.clocks_may_leap ||
         (request_.deadline != kNoDeadline && now() + kRounding >= request_.deadline);
}

}  // namespace octet::simulation
