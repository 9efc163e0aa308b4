#include "router/generation/start_sequence.h"

#include <algorithm>

#include "octet/v1/pipeline.pb.h"
#include "router/tracing/call_record.h"

namespace octet::router {
namespace {

// Rare enough to cost little, and often enough for the counts of tokens to be of now.
constexpr uint32_t kUnstreamedInterval = 32;

void set_sampling(const ValidatedRequest& request, uint32_t choice_index, v1::SequenceSampling& out) {
  const Sampling& sampling = request.sampling;
  out.set_temperature(sampling.temperature);
  out.set_top_k(sampling.top_k);
  out.set_top_p(sampling.top_p);
  out.set_min_p(sampling.min_p);
  out.set_repetition_penalty(sampling.repetition_penalty);
  out.set_repetition_rule(sampling.repetition_rule == RepetitionRule::kDivide
                              ? v1::REPETITION_RULE_DIVIDE
                              : v1::REPETITION_RULE_DIVIDE_OR_MULTIPLY);
  out.set_presence_penalty(sampling.presence_penalty);
  out.set_frequency_penalty(sampling.frequency_penalty);
  for (const auto& [token, bias] : sampling.logit_bias) (*out.mutable_logit_bias())[token] = bias;
  for (const std::vector<TokenId>& word : sampling.bad_words) {
    out.add_bad_words()->mutable_ids()->Add(word.begin(), word.end());
  }
  out.set_seed(sampling.seed);
  out.set_choice_index(choice_index);
  if (request.min_tokens > 0) {
    const auto& suppressed = request.suppressed_before_min_tokens.value_or(request.stop_token_ids);
    out.set_min_tokens(request.min_tokens);
    out.mutable_suppressed_before_min_tokens()->Add(suppressed.begin(), suppressed.end());
  }
  if (request.constraint) {
    v1::TokenConstraint& constraint = *out.mutable_constraint();
    constraint.set_automaton(*request.constraint->automaton);
    constraint.mutable_end_token_ids()->Add(request.stop_token_ids.begin(), request.stop_token_ids.end());
    constraint.set_begins_text(request.constraint->begins_text);
  }
  if (request.logprobs) out.set_logprobs(*request.logprobs);
}

}  // namespace

v1::StartSequence start_sequence(const ValidatedRequest& request, uint32_t choice_index,
                                 const SequenceProgress& progress, Time now) {
  v1::StartSequence start;
  start.mutable_prompt_tokens()->Add(request.prompt.begin(), request.prompt.end());
  start.mutable_generated_tokens()->Add(progress.generated.begin(), progress.generated.end());
  set_sampling(request, choice_index, *start.mutable_sampling());
  // All choices have one prompt: its scores come once.
  if (request.prompt_logprobs && choice_index == 0 && progress.scores_prompt) {
    start.mutable_sampling()->set_prompt_logprobs(*request.prompt_logprobs);
  }
  start.set_max_tokens(request.max_tokens);
  start.mutable_stop_token_ids()->Add(request.stop_token_ids.begin(), request.stop_token_ids.end());
  if (request.deadline != kNoDeadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(request.deadline - now);
    start.set_timeout_ms(static_cast<uint64_t>(std::max<int64_t>(left.count(), 1)));
  }
  start.set_priority(request.priority);
  start.set_cache_salt(request.tenant.name);
  if (const TraceContext* span = request.record ? context_of(*request.record) : nullptr) {
    start.set_traceparent(traceparent_of(*span));
    start.set_tracestate(span->state);
  }
  // A stop string ends the sequence where the router finds it: tokens beyond it would be computed in vain.
  if (!request.streamed && request.stop.empty()) start.set_output_interval_tokens(kUnstreamedInterval);
  return start;
}

}  // namespace octet::router
