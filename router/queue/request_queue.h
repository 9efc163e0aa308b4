// The requests that wait for room on a pipeline: bounded, and in the order in which they are to run. Lower
// priorities first; among equal ones each tenant has its share of the tokens (fair_class.h); inside a tenant
// the earliest deadline first, then arrival. A lower class waits as long as a higher one has work, up to its
// deadlines; inside a class nobody is overtaken for ever.
//
// Arithmetic only, owned by one thread: no clock of its own, no mutex, no requests themselves but their ids.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "router/queue/fair_class.h"
#include "router/queue/rate_meter.h"

namespace octet::router {

class RequestQueue {
 public:
  explicit RequestQueue(const QueueLimits& limits) : limits_(limits) {}

  enum class Refusal {
    kNone,
    kRequests,  // max_requests wait
    kTokens,    // with it more than max_tokens would wait
    kWait,      // at the rate of late its turn comes after max_wait
    kDeadline,  // at the rate of late its turn comes after its deadline
  };
  struct Push {
    Refusal refusal = Refusal::kNone;
    // Until its turn, at the rate of late; absent while that is not known.
    std::optional<Duration> wait;
    // Requests that made room and do not wait any more. A full queue takes a newcomer in place of requests of
    // a lower class, and inside its class of those of the tenant that has the most of the queue by its
    // weight, as long as that leaves it no less than the newcomer's.
    std::vector<QueuedId> displaced;
  };
  Push push(const QueuedRequest& request, Time now);

  // The next one to run; it waits on.
  std::optional<QueuedId> front() const;
  // Takes the front, which there must be, and charges its tokens to its tenant.
  void pop(Time now);
  // One that is not to run any more. Returns whether it waited.
  bool remove(QueuedId id, Time now);
  // Takes those whose deadline is at or before now, by deadline.
  std::vector<QueuedId> expire(Time now);
  // The earliest deadline, or kNoDeadline.
  Time next_deadline() const;

  // A tenant's request of this priority, which was popped, had tokens generated.
  void charge(const std::string& tenant, int32_t priority, uint64_t num_tokens);

  // Whether there is no pipeline at all for now: such time tells nothing of the rate.
  void set_stalled(bool stalled, Time now) {
    stalled_ = stalled;
    update_busy(now);
  }

  bool empty() const { return waiting_.empty(); }
  size_t num_requests() const { return waiting_.size(); }
  uint64_t num_tokens() const { return num_tokens_; }
  const QueueLimits& limits() const { return limits_; }

 private:
  struct Waiting {
    QueuedRequest request;
    uint64_t arrival = 0;
  };

  void insert(Waiting waiting);
  Waiting take(QueuedId id);
  // What a newcomer is refused with as things are.
  Refusal overflow(const QueuedRequest& request) const;
  // A request whose place the newcomer may have.
  std::optional<QueuedId> victim_of(const QueuedRequest& newcomer) const;
  std::optional<Duration> wait_of(const QueuedRequest& request, Time now);
  void update_busy(Time now) { rate_.set_busy(!waiting_.empty() && !stalled_, now); }

  const QueueLimits limits_;
  std::map<int32_t, FairClass> classes_;  // by priority; none is empty
  std::unordered_map<QueuedId, Waiting> waiting_;
  std::set<std::pair<Time, QueuedId>> deadlines_;
  uint64_t num_tokens_ = 0;
  uint64_t num_arrivals_ = 0;
  bool stalled_ = false;
  RateMeter rate_;  // of tokens popped
};

}  // namespace octet::router
