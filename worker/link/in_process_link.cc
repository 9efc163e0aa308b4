// A link inside one process: a queue of messages for each direction.
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/link/link.h"

namespace octet::worker {
namespace {

// Messages that may wait in one direction, as socket buffers would hold some: enough for the micro-batches in
// flight.
constexpr size_t kMaxQueuedMessages = 64;

// One direction.
class MessageQueue {
 public:
  absl::Status push(uint64_t step, std::span<const std::byte> bytes, Time deadline) {
    std::unique_lock lock(mutex_);
    const auto ready = [this] { return closed_ || messages_.size() < kMaxQueuedMessages; };
    if (!wait(lock, deadline, ready)) return absl::DeadlineExceededError("the peer did not receive in time");
    if (closed_) return absl::UnavailableError("the link was closed");
    messages_.push_back({step, {bytes.begin(), bytes.end()}});
    changed_.notify_all();
    return absl::OkStatus();
  }

  absl::Status pop(uint64_t step, std::span<std::byte> bytes, Time deadline) {
    std::unique_lock lock(mutex_);
    const auto ready = [this] { return closed_ || !messages_.empty(); };
    if (!wait(lock, deadline, ready)) return absl::DeadlineExceededError("the peer did not send in time");
    if (messages_.empty()) return absl::UnavailableError("the link was closed");
    const Message message = std::move(messages_.front());
    messages_.pop_front();
    changed_.notify_all();
    if (message.step != step || message.bytes.size() != bytes.size()) {
      return absl::DataLossError(absl::StrCat("the peer sent step ", message.step, ", ", message.bytes.size(),
                                              " bytes; expected step ", step, ", ", bytes.size(), " bytes"));
    }
    if (!bytes.empty()) std::memcpy(bytes.data(), message.bytes.data(), bytes.size());
    return absl::OkStatus();
  }

  bool is_closed() {
    const std::scoped_lock lock(mutex_);
    return closed_;
  }

  // No message goes in any more; those inside can still be taken.
  void close() {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  struct Message {
    uint64_t step;
    std::vector<std::byte> bytes;
  };

  template <typename Ready>
  bool wait(std::unique_lock<std::mutex>& lock, Time deadline, Ready ready) {
    if (deadline == kNoDeadline) {
      changed_.wait(lock, ready);
      return true;
    }
    return changed_.wait_until(lock, deadline, ready);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Message> messages_;
  bool closed_ = false;
};

class InProcessLink : public Link {
 public:
  InProcessLink(std::shared_ptr<MessageQueue> outgoing, std::shared_ptr<MessageQueue> incoming)
      : outgoing_(std::move(outgoing)), incoming_(std::move(incoming)) {}
  ~InProcessLink() override { close(); }

  absl::Status send(uint64_t step, std::span<const std::byte> bytes, Time deadline) override {
    return outgoing_->push(step, bytes, deadline);
  }
  absl::Status receive(uint64_t step, std::span<std::byte> bytes, Time deadline) override {
    return incoming_->pop(step, bytes, deadline);
  }
  absl::Status check() override {
    return outgoing_->is_closed() ? absl::UnavailableError("the link was closed") : absl::OkStatus();
  }
  void close() final {
    outgoing_->close();
    incoming_->close();
  }

 private:
  std::shared_ptr<MessageQueue> outgoing_;
  std::shared_ptr<MessageQueue> incoming_;
};

}  // namespace

std::pair<std::unique_ptr<Link>, std::unique_ptr<Link>> in_process_link() {
  auto forward = std::make_shared<MessageQueue>();
  auto backward = std::make_shared<MessageQueue>();
  return {std::make_unique<InProcessLink>(forward, backward),
          std::make_unique<InProcessLink>(backward, forward)};
}

}  // namespace octet::worker
