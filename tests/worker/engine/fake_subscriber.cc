#include "tests/worker/engine/fake_subscriber.h"

#include <gtest/gtest.h>

#include <chrono>

namespace octet::worker {

bool FakeSubscriber::deliver(std::vector<SequenceNews> news) {
  const std::lock_guard lock(mutex_);
  if (refuses_) return false;
  deliveries_.emplace_back();
  for (const SequenceNews& one : news) {
    deliveries_.back().push_back(one.router_sequence_id);
    Sequence& sequence = sequences_[one.router_sequence_id];
    if (sequence.num_ends > 0) sequence.news_after_end = true;
    for (const ScoredToken& token : one.tokens) sequence.tokens.push_back(token.token);
    sequence.num_prompt_logprobs += one.prompt_logprobs.size();
    if (one.finish) sequence.finish = one.finish;
    if (!one.failure.ok()) sequence.failure = one.failure;
    if (one.finish || !one.failure.ok()) ++sequence.num_ends;
  }
  changed_.notify_all();
  return true;
}

void FakeSubscriber::end(const absl::Status& status) {
  const std::lock_guard lock(mutex_);
  if (!stream_end_) stream_end_ = status;
  changed_.notify_all();
}

void FakeSubscriber::refuse() {
  const std::lock_guard lock(mutex_);
  refuses_ = true;
}

template <typename Predicate>
void FakeSubscriber::wait(const char* what, Predicate predicate) {
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(30), predicate)) << "waited in vain for " << what;
}

FakeSubscriber::Sequence FakeSubscriber::wait_for_end(uint64_t router_sequence_id) {
  wait("a sequence's end", [&] { return sequences_[router_sequence_id].num_ends > 0; });
  return sequence(router_sequence_id);
}

void FakeSubscriber::wait_for_tokens(uint64_t router_sequence_id, size_t num_tokens) {
  wait("tokens", [&] { return sequences_[router_sequence_id].tokens.size() >= num_tokens; });
}

absl::Status FakeSubscriber::wait_for_stream_end() {
  wait("the stream's end", [&] { return stream_end_.has_value(); });
  const std::lock_guard lock(mutex_);
  return stream_end_.value_or(absl::OkStatus());
}

FakeSubscriber::Sequence FakeSubscriber::sequence(uint64_t router_sequence_id) const {
  const std::lock_guard lock(mutex_);
  const auto found = sequences_.find(router_sequence_id);
  return found == sequences_.end() ? Sequence() : found->second;
}

std::vector<std::vector<uint64_t>> FakeSubscriber::deliveries() const {
  const std::lock_guard lock(mutex_);
  return deliveries_;
}

}  // namespace octet::worker
