#include "router/routing/submit_stream.h"

#include <utility>

namespace octet::router {

void SubmitStream::start(v1::StartSequence sequence) {
  const uint64_t id = sequence.sequence_id();
  *waiting_.emplace_back().mutable_start() = std::move(sequence);
  waiting_starts_.emplace(id, std::prev(waiting_.end()));
  write_next();
}

void SubmitStream::cancel(uint64_t sequence_id) {
  if (const auto found = waiting_starts_.find(sequence_id); found != waiting_starts_.end()) {
    waiting_.erase(found->second);
    waiting_starts_.erase(found);
    return;
  }
  waiting_.emplace_back().mutable_cancel()->set_sequence_id(sequence_id);
  write_next();
}

void SubmitStream::OnWriteDone(bool ok) {
  on_loop([this, ok] {
    if (!ok) return;  // the stream is broken: the read side ends it
    writing_ = false;
    write_next();
  });
}

void SubmitStream::write_next() {
  if (writing_ || closed() || waiting_.empty()) return;
  outgoing_ = std::move(waiting_.front());
  if (outgoing_.has_start()) waiting_starts_.erase(outgoing_.start().sequence_id());
  waiting_.pop_front();
  writing_ = true;
  StartWrite(&outgoing_);
}

}  // namespace octet::router
