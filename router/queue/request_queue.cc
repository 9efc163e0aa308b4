#include "router/queue/request_queue.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace octet::router {

RequestQueue::Push RequestQueue::push(const QueuedRequest& request, Time now) {
  OCTET_CHECK(!waiting_.contains(request.id), "request ", request.id, " waits already");
  Push result;
  result.wait = wait_of(request, now);
  if (result.wait && request.deadline != kNoDeadline && *result.wait > request.deadline - now) {
    result.refusal = Refusal::kDeadline;
    return result;
  }
  if (result.wait && *result.wait > limits_.max_wait) {
    result.refusal = Refusal::kWait;
    return result;
  }
  if (request.num_tokens > limits_.max_tokens) {
    result.refusal = Refusal::kTokens;
    return result;
  }
  std::vector<Waiting> displaced;
  while ((result.refusal = overflow(request)) != Refusal::kNone) {
    const auto victim = victim_of(request);
    if (!victim) break;
    displaced.push_back(take(*victim));
  }
  if (result.refusal != Refusal::kNone) {
    for (Waiting& each : displaced) insert(std::move(each));
  } else {
    for (const Waiting& each : displaced) result.displaced.push_back(each.request.id);
    insert({request, num_arrivals_++});
  }
  update_busy(now);
  return result;
}

std::optional<QueuedId> RequestQueue::front() const {
  if (classes_.empty()) return std::nullopt;
  return classes_.begin()->second.next();
}

void RequestQueue::pop(Time now) {
  const auto id = front();
  OCTET_CHECK(id.has_value(), "nothing waits");
  // Charged while it still counts as waiting: a class that becomes empty forgets what it owes.
  const QueuedRequest& request = waiting_.at(*id).request;
  charge(request.tenant, request.priority, request.num_tokens);
  rate_.add(static_cast<double>(request.num_tokens), now);
  take(*id);
  update_busy(now);
}

bool RequestQueue::remove(QueuedId id, Time now) {
  if (!waiting_.contains(id)) return false;
  take(id);
  update_busy(now);
  return true;
}

std::vector<QueuedId> RequestQueue::expire(Time now) {
  std::vector<QueuedId> result;
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    result.push_back(deadlines_.begin()->second);
    take(result.back());
  }
  update_busy(now);
  return result;
}

Time RequestQueue::next_deadline() const {
  return deadlines_.empty() ? kNoDeadline : deadlines_.begin()->first;
}

void RequestQueue::charge(const std::string& tenant, int32_t priority, uint64_t num_tokens) {
  const auto found = classes_.find(priority);
  if (found != classes_.end()) found->second.charge(tenant, static_cast<double>(num_tokens));
}

void RequestQueue::insert(Waiting waiting) {
  const QueuedRequest& request = waiting.request;
  classes_[request.priority].add(request, waiting.arrival);
  if (request.deadline != kNoDeadline) deadlines_.emplace(request.deadline, request.id);
  num_tokens_ += request.num_tokens;
  const QueuedId id = request.id;
  waiting_.emplace(id, std::move(waiting));
}

RequestQueue::Waiting RequestQueue::take(QueuedId id) {
  Waiting waiting = std::move(waiting_.extract(id).mapped());
  const QueuedRequest& request = waiting.request;
  const auto in_class = classes_.find(request.priority);
  in_class->second.remove(request, waiting.arrival);
  if (in_class->second.empty()) classes_.erase(in_class);
  deadlines_.erase({request.deadline, id});
  num_tokens_ -= request.num_tokens;
  return waiting;
}

RequestQueue::Refusal RequestQueue::overflow(const QueuedRequest& request) const {
  if (waiting_.size() >= limits_.max_requests) return Refusal::kRequests;
  if (num_tokens_ + request.num_tokens > limits_.max_tokens) return Refusal::kTokens;
  return Refusal::kNone;
}

std::optional<QueuedId> RequestQueue::victim_of(const QueuedRequest& newcomer) const {
  if (classes_.empty()) return std::nullopt;
  const auto& [priority, last_class] = *classes_.rbegin();
  if (priority < newcomer.priority) return std::nullopt;
  const FairClass::Last last = last_class.last_of_the_largest(limits_);
  if (priority == newcomer.priority && last_class.share_with(newcomer, limits_) > last.share_without) {
    return std::nullopt;
  }
  return last.id;
}

std::optional<Duration> RequestQueue::wait_of(const QueuedRequest& request, Time now) {
  const auto rate = rate_.per_second(now);
  if (!rate) return std::nullopt;
  double num_tokens = 0;
  for (const auto& [priority, its_class] : classes_) {
    if (priority > request.priority) break;
    num_tokens += priority < request.priority ? static_cast<double>(its_class.num_tokens())
                                              : its_class.num_tokens_ahead(request);
  }
  constexpr double kLongest = 3600;
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(std::min(num_tokens / *rate, kLongest)));
}

}  // namespace octet::router
