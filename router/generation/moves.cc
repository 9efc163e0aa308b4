#include "router/generation/moves.h"

#include <algorithm>

#include "base/check.h"

namespace octet::router {

Moves::Verdict Moves::leave(const Leaving& leaving, Time now, uint64_t random) {
  OCTET_CHECK(!waiting_.contains(leaving.id), "choice ", leaving.id.choice, " of request ",
              leaving.id.request, " moves already");
  if (leaving.num_in_a_row > limits_.max_in_a_row) return Verdict::kTooOften;
  if (leaving.reason == MoveReason::kFailed && !budget_.take()) return Verdict::kNoBudget;
  Waiting waiting{.priority = leaving.priority, .since = now, .not_before = now};
  if (leaving.answered) {
    waiting.not_before += limits_.backoff.delay(leaving.num_in_a_row, random);
    delayed_.emplace(waiting.not_before, leaving.id);
  } else {
    due_.emplace(leaving.priority, leaving.id);
  }
  by_age_.emplace(now, leaving.id);
  waiting_.emplace(leaving.id, waiting);
  return Verdict::kMoves;
}

std::optional<Moves::Id> Moves::next(Time now) {
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const Id id = delayed_.begin()->second;
    delayed_.erase(delayed_.begin());
    due_.emplace(waiting_.at(id).priority, id);
  }
  if (due_.empty()) return std::nullopt;
  return due_.begin()->second;
}

void Moves::remove(const Id& id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  const Waiting& waiting = found->second;
  due_.erase({waiting.priority, id});
  delayed_.erase({waiting.not_before, id});
  by_age_.erase({waiting.since, id});
  waiting_.erase(found);
}

void Moves::remove_request(uint64_t request) {
  auto it = waiting_.lower_bound({.request = request, .choice = 0});
  while (it != waiting_.end() && it->first.request == request) remove((it++)->first);
}

void Moves::set_no_pipeline(bool none, Time now) {
  if (!none) {
    no_pipeline_since_.reset();
  } else if (!no_pipeline_since_) {
    no_pipeline_since_ = now;
  }
}

std::vector<Moves::Id> Moves::expire(Time now) {
  std::vector<Id> result;
  if (!no_pipeline_since_) return result;
  while (!by_age_.empty() && give_up_time(by_age_.begin()->first) <= now) {
    result.push_back(by_age_.begin()->second);
    remove(result.back());
  }
  return result;
}

Time Moves::next_time() const {
  Time time = delayed_.empty() ? kNoDeadline : delayed_.begin()->first;
  if (no_pipeline_since_ && !by_age_.empty()) time = std::min(time, give_up_time(by_age_.begin()->first));
  return time;
}

}  // namespace octet::router
