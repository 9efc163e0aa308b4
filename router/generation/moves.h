// Sequences that left a pipeline before their end and are to go on elsewhere: who is next, who has to wait,
// who has waited in vain. Also how often that may be: a sequence that ends every lead it comes to must not go
// round for ever, and retries must not be most of the work.
//
// Arithmetic only, owned by one thread: no clock or random numbers of its own, no sequences but their names.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "router/routing/backoff.h"
#include "router/routing/pipeline.h"

namespace octet::router {

// How many retries there may be for the sequences that ended well: each of those adds `ratio`, up to `most`.
// So a pipeline that refuses everything is not asked much more often than without retries (gRFC A6).
class RetryBudget {
 public:
  struct Limits {
    double ratio = 0.1;
    double most = 100;
  };
  explicit RetryBudget(const Limits& limits) : limits_(limits), left_(limits.most) {}

  void succeeded() { left_ = std::min(left_ + limits_.ratio, limits_.most); }
  // Returns whether there was one left.
  bool take() {
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  const Limits limits_;
  double left_;
};

struct MoveLimits {
  Duration wait = std::chrono::minutes(2);  // without any pipeline
  uint32_t max_in_a_row = 5;                // of one sequence, without a token between
  Backoff backoff;                          // of those that a lead refused or gave up
  RetryBudget::Limits retries;
};

class Moves {
 public:
  explicit Moves(const MoveLimits& limits) : limits_(limits), budget_(limits.retries) {}

  // Names a sequence.
  struct Id {
    uint64_t request = 0;  // rises with their arrival
    uint32_t choice = 0;
    bool operator==(const Id&) const = default;
    bool operator<(const Id& other) const {
      return std::tie(request, choice) < std::tie(other.request, other.choice);
    }
  };
  struct Leaving {
    Id id;
    int32_t priority = 0;  // lower goes on first; among equal ones the older request
    MoveReason reason = {};
    bool answered = false;      // the lead is there and refused the sequence or gave it up
    uint32_t num_in_a_row = 1;  // this time included, without a token between
  };
  enum class Verdict { kMoves, kTooOften, kNoBudget };
  // A sequence left its pipeline. It waits here from now on, unless it has moved too often. Those that a lead
  // answered go on after a while, others at once.
  Verdict leave(const Leaving& leaving, Time now, uint64_t random);

  // The next one to go on; it waits on.
  std::optional<Id> next(Time now);
  // These wait no more: they go on, or have ended.
  void remove(const Id& id);
  void remove_request(uint64_t request);
  // Whether there is no pipeline at all for now.
  void set_no_pipeline(bool none, Time now);
  // Takes those that have waited too long for any pipeline to be there.
  std::vector<Id> expire(Time now);
  // When next() or expire() may have another one by itself, or kNoDeadline.
  Time next_time() const;

  // A sequence ended well.
  void succeeded() { budget_.succeeded(); }
  bool empty() const { return waiting_.empty(); }
  size_t size() const { return waiting_.size(); }

 private:
  struct Waiting {
    int32_t priority = 0;
    Time since;
    Time not_before;
  };
  Time give_up_time(Time since) const { return std::max(since, *no_pipeline_since_) + limits_.wait; }

  const MoveLimits limits_;
  RetryBudget budget_;
  std::map<Id, Waiting> waiting_;
  std::set<std::pair<int32_t, Id>> due_;   // those that may go on, by priority
  std::set<std::pair<Time, Id>> delayed_;  // the others, by when they may
  std::set<std::pair<Time, Id>> by_age_;   // all, by `since`
  std::optional<Time> no_pipeline_since_;
};

}  // namespace octet::router
