// How other threads reach the engine: events wait here until its loop takes them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "worker/engine/sequence_table.h"
#include "worker/engine/stage_client.h"
#include "worker/engine/subscriber.h"

namespace octet::worker {

// What can happen to the engine.
struct SubscribeEvent {
  SubscriberId subscriber = 0;
  std::shared_ptr<Subscriber> output;
};
struct SubmitEvent {
  SubscriberId subscriber = 0;
  uint64_t router_sequence_id = 0;
  NewSequence sequence;  // its id is the engine's to choose
  uint32_t output_interval = 1;
};
struct CancelEvent {
  SubscriberId subscriber = 0;
  uint64_t router_sequence_id = 0;
};
struct UnsubscribeEvent {
  SubscriberId subscriber = 0;
};
struct RegisterEvent {
  Registration registration;
  std::function<void(const absl::StatusOr<uint64_t>& epoch)> answer;  // must not block
};
struct JoinedEvent {
  int stage = 0;
  uint64_t epoch = 0;
  absl::Status status;
};
struct ResultEvent {
  int stage = 0;
  uint64_t epoch = 0;
  StepResult result;
};
struct LostEvent {
  int stage = 0;
  uint64_t epoch = 0;
  absl::Status status;
};
struct DrainEvent {
  Time end;  // when the process ends
};
using Event = std::variant<SubscribeEvent, SubmitEvent, CancelEvent, UnsubscribeEvent, RegisterEvent,
                           JoinedEvent, ResultEvent, LostEvent, DrainEvent>;

class Mailbox : public StageEvents {
 public:
  // max_offered: most events that offer() lets wait.
  explicit Mailbox(size_t max_offered) : max_offered_(max_offered) {}

  // False after close().
  bool post(Event event);
  // For events whose number a peer decides. False when too many wait, or after close().
  bool offer(Event event);
  // Swaps what waits into `events`, or returns with none at the deadline. False after close(), with the last
  // events.
  bool take(std::vector<Event>& events, Time deadline);
  void close();
  // Since when events wait to be taken, if any do.
  std::optional<Time> waiting_since() const;

  void on_joined(int stage, uint64_t epoch, const absl::Status& status) override;
  void on_result(int stage, uint64_t epoch, StepResult result) override;
  void on_lost(int stage, uint64_t epoch, const absl::Status& status) override;

 private:
  // Under the mutex.
  void add(Event event);

  const size_t max_offered_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Event> events_;
  Time first_arrived_;      // of events_
  size_t num_offered_ = 0;  // of events_
  bool closed_ = false;
};

}  // namespace octet::worker
