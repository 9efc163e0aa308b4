#include "tools/bench/results.h"

#include <algorithm>
#include <cmath>

namespace octet::bench {
namespace {
constexpr size_t kMaxWrongAnswersKept = 3;

bool is_refusal(const Failure& failure) {
  return failure.kind == "http 429" || failure.kind == "RESOURCE_EXHAUSTED";
}

}  // namespace

std::optional<double> Samples::quantile(double q) const {
  if (values_.empty()) return std::nullopt;
  if (num_sorted_ != values_.size()) {
    std::sort(values_.begin(), values_.end());
    num_sorted_ = values_.size();
  }
  const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(values_.size())));
  return values_[std::clamp<size_t>(rank, 1, values_.size()) - 1];
}

void Results::add(const Prompt& prompt, Time intended, const Answer& answer) {
  ++num_requests;
  first_ = std::min(first_.value_or(intended), intended);
  last_ = std::max(last_, answer.end);
  if (answer.failure) {
    ++num_failed;
    FailureCount& failure = failures[answer.failure->kind];
    if (failure.count++ == 0) failure.first_detail = answer.failure->detail;
    if (is_refusal(*answer.failure)) time_to_refusal.add(answer.end - intended);
    return;
  }
  if (prompt.expected) {
    ++num_verified;
    if (answer.text != *prompt.expected) {
      ++num_wrong;
      if (wrong_answers.size() < kMaxWrongAnswersKept) {
        wrong_answers.push_back({prompt.line, *prompt.expected, answer.text});
      }
    }
  }
  num_tokens += answer.num_tokens.value_or(0);
  num_uncounted += answer.num_tokens ? 0 : 1;
  end_to_end.add(answer.end - intended);
  if (answer.arrivals.empty()) return;
  const Time first_token = answer.arrivals.front().at;
  time_to_first_token.add(first_token - intended);
  for (size_t i = 1; i < answer.arrivals.size(); ++i) {
    const Arrival& arrival = answer.arrivals[i];
    inter_token_latency.add((arrival.at - answer.arrivals[i - 1].at) / arrival.num_tokens);
  }
  if (answer.num_tokens && *answer.num_tokens > 1) {
    time_per_output_token.add((answer.end - first_token) / (*answer.num_tokens - 1));
  }
}

Duration Results::duration() const {
  return first_ ? last_ - *first_ : Duration::zero();
}

}  // namespace octet::bench
