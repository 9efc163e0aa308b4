// Which sequence belongs to which router's stream, under which of the router's numbers, and the news that
// waits to be delivered. Owned by the engine's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "worker/engine/subscriber.h"

namespace octet::worker {

using SubscriberId = uint64_t;

class SequenceTable {
 public:
  void add_subscriber(SubscriberId id, std::shared_ptr<Subscriber> subscriber);
  std::shared_ptr<Subscriber> subscriber(SubscriberId id) const;  // null when it is gone
  // Forgets the subscriber and its news; returns its sequences, which are forgotten too.
  std::vector<SequenceId> remove_subscriber(SubscriberId id);
  std::vector<SubscriberId> subscribers() const;

  // A new sequence, or nullopt when the router's number is in use. output_interval: tokens that its news has,
  // the first and the last aside.
  std::optional<SequenceId> add(SubscriberId subscriber, uint64_t router_sequence_id,
                                uint32_t output_interval = 1);
  std::optional<SequenceId> find(SubscriberId subscriber, uint64_t router_sequence_id) const;
  void remove(SequenceId id);
  size_t num_sequences() const { return owners_.size(); }

  // Keeps news for a flush(), the next one unless it is less than the sequence's interval; a sequence without
  // an owner has no news. `news.router_sequence_id` is filled in.
  void add_news(SequenceId id, SequenceNews news);
  // Delivers all news, one delivery a subscriber. Returns the subscribers that did not take theirs.
  std::vector<SubscriberId> flush();

 private:
  struct Owner {
    SubscriberId subscriber = 0;
    uint64_t router_sequence_id = 0;
    uint32_t output_interval = 1;
    bool was_heard_of = false;
    SequenceNews held;  // less than an interval
  };
  struct Entry {
    std::shared_ptr<Subscriber> subscriber;
    std::unordered_map<uint64_t, SequenceId> sequences;  // by the router's number
    std::vector<SequenceNews> news;
  };
  std::unordered_map<SubscriberId, Entry> subscribers_;
  std::unordered_map<SequenceId, Owner> owners_;
  std::vector<SubscriberId> with_news_;
  SequenceId next_id_ = 1;  // 0 is the warm-up's
};

}  // namespace octet::worker
