#include "worker/engine/mailbox.h"

#include <algorithm>

namespace octet::worker {

bool Mailbox::post(Event event) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    add(std::move(event));
  }
  arrived_.notify_one();
  return true;
}

bool Mailbox::offer(Event event) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || num_offered_ >= max_offered_) return false;
    ++num_offered_;
    add(std::move(event));
  }
  arrived_.notify_one();
  return true;
}

void Mailbox::add(Event event) {
  if (events_.empty()) first_arrived_ = now();
  events_.push_back(std::move(event));
}

std::optional<Time> Mailbox::waiting_since() const {
  const std::lock_guard lock(mutex_);
  if (events_.empty()) return std::nullopt;
  return first_arrived_;
}

bool Mailbox::take(std::vector<Event>& events, Time deadline) {
  // The library adds the deadline to other clocks, so it must not be the end of time.
  constexpr Duration kLongest = std::chrono::hours(1);
  events.clear();
  std::unique_lock lock(mutex_);
  arrived_.wait_until(lock, std::min(deadline, now() + kLongest),
                      [this] { return closed_ || !events_.empty(); });
  events.swap(events_);
  num_offered_ = 0;
  return !closed_;
}

void Mailbox::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  arrived_.notify_one();
}

void Mailbox::on_joined(int stage, uint64_t epoch, const absl::Status& status) {
  post(JoinedEvent{stage, epoch, status});
}

void Mailbox::on_result(int stage, uint64_t epoch, StepResult result) {
  post(ResultEvent{stage, epoch, std::move(result)});
}

void Mailbox::on_lost(int stage, uint64_t epoch, const absl::Status& status) {
  post(LostEvent{stage, epoch, status});
}

}  // namespace octet::worker
