// A router's stream that keeps what it is given.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "worker/engine/subscriber.h"

namespace octet::worker {

class FakeSubscriber : public Subscriber {
 public:
  // All that came of one sequence.
  struct Sequence {
    std::vector<TokenId> tokens;
    size_t num_prompt_logprobs = 0;
    std::optional<FinishReason> finish;
    absl::Status failure;
    int num_ends = 0;  // more than one, or news after it, is a bug of the engine
    bool news_after_end = false;
  };

  bool deliver(std::vector<SequenceNews> news) override;
  void end(const absl::Status& status) override;

  // Takes nothing any more, as a router that is gone or reads too slowly.
  void refuse();

  // The following wait for at most 30 s, and fail the test then.
  Sequence wait_for_end(uint64_t router_sequence_id);
  // Until this sequence has so many tokens.
  void wait_for_tokens(uint64_t router_sequence_id, size_t num_tokens);
  absl::Status wait_for_stream_end();

  Sequence sequence(uint64_t router_sequence_id) const;
  // The sequences of each delivery.
  std::vector<std::vector<uint64_t>> deliveries() const;

 private:
  template <typename Predicate>
  void wait(const char* what, Predicate predicate);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool refuses_ = false;
  std::map<uint64_t, Sequence> sequences_;
  std::vector<std::vector<uint64_t>> deliveries_;
  std::optional<absl::Status> stream_end_;
};

}  // namespace octet::worker
