// What waits to be handed on in batches: bounded, by number and by age. Pure logic with the time as an
// argument; batch_thread.h runs it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace octet::router {

struct BatchLimits {
  size_t max_waiting = 2048;
  size_t max_batch = 512;
  Duration max_delay = std::chrono::seconds(1);  // from an item to its batch
};

template <typename Item>
class BatchQueue {
 public:
  explicit BatchQueue(const BatchLimits& limits) : limits_(limits) {}

  // False when it is full: the item is lost.
  bool push(Item item, Time now) {
    if (waiting_.size() >= limits_.max_waiting) return false;
    waiting_.emplace_back(now, std::move(item));
    return true;
  }

  // When the next batch is due, which is at once when it is full; nothing while nothing waits.
  std::optional<Time> due() const {
    if (waiting_.empty()) return std::nullopt;
    return waiting_.size() >= limits_.max_batch ? Time::min() : waiting_.front().first + limits_.max_delay;
  }

  // The oldest, due or not.
  std::vector<Item> take() {
    std::vector<Item> batch;
    const size_t size = std::min(waiting_.size(), limits_.max_batch);
    batch.reserve(size);
    for (size_t i = 0; i < size; ++i) {
      batch.push_back(std::move(waiting_.front().second));
      waiting_.pop_front();
    }
    return batch;
  }

  size_t size() const { return waiting_.size(); }

 private:
  const BatchLimits limits_;
  std::deque<std::pair<Time, Item>> waiting_;
};

}  // namespace octet::router
