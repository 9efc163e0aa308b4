#include "worker/lead/plan_in_flight.h"

#include <sstream>

namespace octet::worker {
namespace {

template <typename... Parts>
std::string sentence(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

std::optional<std::string> contradiction(const PlanInFlight::Chunk& chunk, const SequenceSample& sample,
                                         uint32_t vocab_size) {
  if (sample.id != chunk.id) {
    return sentence("a sample of sequence ", sample.id, " where one of sequence ", chunk.id, " belongs");
  }
  if (sample.not_finite || !sample.refusal.empty()) return std::nullopt;
  if (sample.token.has_value() != chunk.samples) {
    return sentence(
        chunk.samples ? "no token for sequence " : "a token for the unfinished prefill of sequence ",
        chunk.id);
  }
  if (sample.token.has_value() && sample.token->token >= vocab_size) {
    return sentence("token id ", sample.token->token, " for sequence ", chunk.id,
                    " is outside the vocabulary of ", vocab_size);
  }
  if (sample.prompt_logprobs.size() != chunk.num_prompt_logprobs) {
    return sentence(sample.prompt_logprobs.size(), " prompt log-probabilities for sequence ", chunk.id,
                    ", not ", chunk.num_prompt_logprobs);
  }
  return std::nullopt;
}

}  // namespace

PlanInFlight::PlanInFlight(const BatchPlan& plan) : step(plan.step) {
  chunks.reserve(plan.chunks.size());
  for (const SequenceChunk& chunk : plan.chunks) {
    chunks.push_back({.id = chunk.id,
                      .num_tokens = static_cast<uint32_t>(chunk.tokens.size()),
                      .num_prompt_logprobs = chunk.end_prompt_logprob_row - chunk.first_prompt_logprob_row,
                      .samples = chunk.samples});
  }
}

std::optional<std::string> contradiction(const PlanInFlight& plan, const StepResult& result,
                                         uint32_t vocab_size) {
  if (result.step != plan.step) {
    return sentence("a result of step ", result.step, ", and the oldest in flight is ", plan.step);
  }
  if (!result.error.empty()) return sentence("step ", result.step, ": ", result.error);
  auto sample = result.samples.begin();
  for (const PlanInFlight::Chunk& chunk : plan.chunks) {
    if (!chunk.has_sample()) continue;
    if (sample == result.samples.end()) {
      return sentence("step ", result.step, ": no sample of sequence ", chunk.id);
    }
    if (auto error = contradiction(chunk, *sample, vocab_size)) {
      return sentence("step ", result.step, ": ", *error);
    }
    ++sample;
  }
  if (sample != result.samples.end()) {
    return sentence("step ", result.step, ": an unasked sample of sequence ", sample->id);
  }
  return std::nullopt;
}

}  // namespace octet::worker
