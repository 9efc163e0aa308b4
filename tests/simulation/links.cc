// worker/link/link.h over the virtual network, instead of tcp_link.cc and tcp_connect.cc: a program that
// links this file does not link those. The listener's address is "HOST:PORT" as it is there, HOST being the
// process.
#include <google/protobuf/wrappers.pb.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <stop_token>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/simulation/checks.h"
#include "tests/simulation/network.h"
#include "worker/link/link.h"

namespace octet::worker {
namespace {

using simulation::End;
using simulation::MessagePtr;
using simulation::Network;

constexpr Duration kConnectRetry = std::chrono::milliseconds(20);

MessagePtr message_of(std::string bytes) {
  auto message = std::make_shared<google::protobuf::BytesValue>();
  message->set_value(std::move(bytes));
  return message;
}

const std::string& bytes_of(const google::protobuf::Message& message) {
  return static_cast<const google::protobuf::BytesValue&>(message).value();
}

// What one end of a link has received. Shared with the connection's events.
struct Inbox {
  std::mutex mutex;
  std::condition_variable arrived;
  std::deque<std::string> messages;
  bool closed = false;

  simulation::EndEvents events(const std::shared_ptr<Inbox>& self) {
    return {.on_message = [self](const google::protobuf::Message& message) { self->put(bytes_of(message)); },
            .on_end = [self](const std::string&) { self->close(); }};
  }
  void put(std::string bytes) {
    const std::lock_guard lock(mutex);
    messages.push_back(std::move(bytes));
    arrived.notify_all();
  }
  void close() {
    const std::lock_guard lock(mutex);
    closed = true;
    arrived.notify_all();
  }
  absl::StatusOr<std::string> take(Time deadline) {
    std::unique_lock lock(mutex);
    const bool any = arrived.wait_until(lock, deadline, [this] { return closed || !messages.empty(); });
    if (!any) return absl::DeadlineExceededError("nothing came in time");
    if (messages.empty()) return absl::UnavailableError("the peer is gone");
    std::string bytes = std::move(messages.front());
    messages.pop_front();
    return bytes;
  }
};

class SimulatedLink final : public Link {
 public:
  SimulatedLink(std::shared_ptr<End> end, std::shared_ptr<Inbox> inbox, uint64_t epoch)
      : end_(std::move(end)), inbox_(std::move(inbox)), epoch_(epoch) {}
  ~SimulatedLink() override { close(); }

  absl::Status send(uint64_t step, std::span<const std::byte> bytes, Time) override {
    if (absl::Status status = check(); !status.ok()) return status;
    end_->send(message_of(
        absl::StrCat(header(step), std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()))));
    return absl::OkStatus();
  }

  absl::Status receive(uint64_t step, std::span<std::byte> bytes, Time deadline) override {
    const absl::StatusOr<std::string> message = inbox_->take(deadline);
    if (!message.ok()) return message.status();
    const std::string expected = header(step);
    if (message->size() != expected.size() + bytes.size() ||
        message->compare(0, expected.size(), expected) != 0) {
      return absl::DataLossError(absl::StrCat("the peer did not send ", expected));
    }
    std::memcpy(bytes.data(), message->data() + expected.size(), bytes.size());
    return absl::OkStatus();
  }

  absl::Status check() override {
    const std::lock_guard lock(inbox_->mutex);
    return inbox_->closed ? absl::UnavailableError("the link is closed") : absl::OkStatus();
  }

  void close() override {
    inbox_->close();
    end_->close();
  }

 private:
  std::string header(uint64_t step) const { return absl::StrCat("epoch ", epoch_, " step ", step, ":"); }

  const std::shared_ptr<End> end_;
  const std::shared_ptr<Inbox> inbox_;
  const uint64_t epoch_;
};

// What who connects says first.
std::string greeting(uint64_t epoch, const LinkKey& key, int rank, int num_ranks) {
  return absl::StrCat(rank, " of ", num_ranks, " epoch ", epoch, " ",
                      std::string(reinterpret_cast<const char*>(key.data()), key.size()));
}

// Errors: UNAVAILABLE, DEADLINE_EXCEEDED.
absl::StatusOr<std::unique_ptr<Link>> greet(const std::string& address, uint64_t epoch,
                                            const std::string& hello, Time deadline,
                                            const std::stop_token& stop) {
  const auto inbox = std::make_shared<Inbox>();
  const auto end = simulation::network().connect(address, "link", inbox->events(inbox));
  end->send(message_of(hello));
  const std::stop_callback on_stop(stop, [&inbox] { inbox->close(); });
  const absl::StatusOr<std::string> answer = inbox->take(deadline);
  if (!answer.ok()) return answer.status();
  return std::make_unique<SimulatedLink>(end, inbox, epoch);
}

}  // namespace

struct TcpLinkListener::Impl {
  struct Pending {
    std::shared_ptr<End> end;
    std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();
    std::string hello;
  };
  // Connections that nobody has accepted yet.
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Pending>> pending;
  int port = 0;

  void take(std::shared_ptr<End> end) {
    const auto entry = std::make_shared<Pending>();
    entry->end = std::move(end);
    pending.push_back(entry);
    entry->end->hear({.on_message =
                          [this, weak = std::weak_ptr(entry)](const google::protobuf::Message& message) {
                            const auto self = weak.lock();
                            if (!self) return;
                            const std::lock_guard lock(mutex);
                            self->hello = bytes_of(message);
                            changed.notify_all();
                          },
                      .on_end = [inbox = entry->inbox](const std::string&) { inbox->close(); }});
  }
  // The link to who has greeted like this, if somebody has.
  std::unique_ptr<Link> welcome(const std::string& hello, uint64_t epoch) {
    const auto found = std::find_if(pending.rbegin(), pending.rend(),
                                    [&](const auto& entry) { return entry->hello == hello; });
    if (found == pending.rend()) return nullptr;
    const std::shared_ptr<Pending> entry = *found;
    pending.erase(std::next(found).base());
    entry->end->hear(entry->inbox->events(entry->inbox));
    entry->end->send(message_of("welcome"));
    return std::make_unique<SimulatedLink>(entry->end, entry->inbox, epoch);
  }
};

TcpLinkListener::TcpLinkListener(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TcpLinkListener::~TcpLinkListener() = default;

absl::StatusOr<std::unique_ptr<TcpLinkListener>> TcpLinkListener::listen(const std::string& host, int port) {
  auto impl = std::make_unique<Impl>();
  impl->port = port;
  simulation::network().listen(
      absl::StrCat(host, ":", port),
      [impl = impl.get()](const std::string&, std::shared_ptr<End> end) { impl->take(std::move(end)); });
  return std::unique_ptr<TcpLinkListener>(new TcpLinkListener(std::move(impl)));
}

int TcpLinkListener::port() const {
  return impl_->port;
}

absl::StatusOr<std::vector<std::unique_ptr<Link>>> TcpLinkListener::accept(uint64_t epoch, const LinkKey& key,
                                                                           int num_ranks, Time deadline,
                                                                           const std::stop_token& stop) {
  std::unique_lock lock(impl_->mutex);
  const std::stop_callback on_stop(stop, [this] { impl_->changed.notify_all(); });
  std::vector<std::unique_ptr<Link>> links(static_cast<size_t>(num_ranks));
  const auto take_ranks = [&] {
    for (int rank = 0; rank < num_ranks; ++rank) {
      auto& link = links[static_cast<size_t>(rank)];
      if (!link) link = impl_->welcome(greeting(epoch, key, rank, num_ranks), epoch);
    }
    return std::all_of(links.begin(), links.end(), [](const auto& link) { return link != nullptr; });
  };
  const bool in_time =
      impl_->changed.wait_until(lock, deadline, [&] { return stop.stop_requested() || take_ranks(); });
  impl_->pending.clear();
  if (stop.stop_requested()) return absl::CancelledError("the wait for links was cancelled");
  if (!in_time) return absl::DeadlineExceededError(absl::StrCat("no link of epoch ", epoch, " came"));
  return links;
}

absl::StatusOr<std::vector<std::unique_ptr<Link>>> connect_links(const std::string& address, uint64_t epoch,
                                                                 const LinkKey& key, int num_ranks,
                                                                 Time deadline, const std::stop_token& stop) {
  std::vector<std::unique_ptr<Link>> links;
  for (int rank = 0; rank < num_ranks; ++rank) {
    for (;;) {
      auto link = greet(address, epoch, greeting(epoch, key, rank, num_ranks), deadline, stop);
      if (stop.stop_requested()) return absl::CancelledError("the wait for links was cancelled");
      if (link.ok()) {
        links.push_back(*std::move(link));
        break;
      }
      const Time retry = now() + kConnectRetry;
      if (retry >= deadline) {
        return absl::DeadlineExceededError(absl::StrCat(address, ": rank ", rank, " cannot connect"));
      }
      simulation::Runtime::current()->sleep_until(retry);
    }
  }
  return links;
}

}  // namespace octet::worker
