// The requests of one priority that wait, shared fairly among their tenants by virtual token counters
// (Sheng et al. 2023, "Fairness in Serving Large Language Models").
//
// Each tenant has a counter of the tokens it was served, divided by its weight, and the waiting tenant with
// the lowest counter is next. A tenant that begins to wait is lifted to the lowest counter among those that
// wait, so nobody saves up for a rush. Inside a tenant the earliest deadline is first.
//
// While two tenants wait, their counters stay within max(P + O) / min(weight) of each other, where P is the
// largest request and O the most tokens that one tenant's dispatched requests can still be charged with; so
// over any time in which both wait, what they are served, by weight, differs by at most twice that.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/clock.h"

namespace octet::router {

using QueuedId = uint64_t;

// A request as the queue sees it.
struct QueuedRequest {
  QueuedId id = 0;  // unique among those that wait
  std::string tenant = {};
  double weight = 1;     // of the tenant; above 0
  int32_t priority = 0;  // lower runs first
  Time deadline = kNoDeadline;
  uint64_t num_tokens = 0;  // of prompt, over all its sequences
};

// Of all that waits.
struct QueueLimits {
  uint32_t max_requests = 1024;
  uint64_t max_tokens = 1'000'000;
  Duration max_wait = std::chrono::minutes(1);
};

class FairClass {
 public:
  bool empty() const { return by_counter_.empty(); }
  uint64_t num_tokens() const { return num_tokens_; }

  void add(const QueuedRequest& request, uint64_t arrival);
  // A request that waits.
  void remove(const QueuedRequest& request, uint64_t arrival);
  // The next one to run; there must be one.
  QueuedId next() const;
  // The tenant was served tokens. Nothing happens for a tenant that the class does not know.
  void charge(const std::string& tenant, double num_tokens);

  // Tokens that are served before a newcomer is, if from now on nothing else comes: those of its own tenant
  // with earlier deadlines, and what other tenants' shares are meanwhile.
  double num_tokens_ahead(const QueuedRequest& newcomer) const;

  // What the waiting requests of the newcomer's tenant are of a queue with these limits, itself included: the
  // larger of the two parts, over the weight.
  double share_with(const QueuedRequest& newcomer, const QueueLimits& limits) const;
  // The last request of the tenant with the largest share, and that share without it; there must be one.
  struct Last {
    QueuedId id = 0;
    double share_without = 0;
  };
  Last last_of_the_largest(const QueueLimits& limits) const;

 private:
  struct Place {
    Time deadline;
    uint64_t arrival = 0;
    QueuedId id = 0;
    uint64_t num_tokens = 0;
    auto order() const { return std::tie(deadline, arrival); }
    bool operator<(const Place& other) const { return order() < other.order(); }
  };
  struct Account {
    double counter = 0;  // tokens over weight
    double weight = 1;
    // It waits again, with less than the least of those that waited, which it was lifted to. It goes before
    // them, or one that seldom comes would always wait for one that always waits. Not a new one: there may be
    // any number.
    bool comes_back = false;
    uint64_t since = 0;  // the arrival with which it began to wait
    std::set<Place> waiting;
    uint64_t num_tokens = 0;  // of those
    auto order() const { return std::tuple(counter, !comes_back, since); }
  };
  using Accounts = std::map<std::string, Account>;
  struct ByCounter {
    bool operator()(const Accounts::value_type* a, const Accounts::value_type* b) const {
      return a->second.order() < b->second.order();
    }
  };

  Accounts accounts_;  // of every tenant that has waited since the class was empty
  std::set<Accounts::value_type*, ByCounter> by_counter_;  // those that wait
  uint64_t num_tokens_ = 0;
};

}  // namespace octet::router
