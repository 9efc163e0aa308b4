// A streaming call to a lead whose events come on the router's event loop: in each turn all messages that
// came since the last one. A loop that is far behind holds the lead back instead of filling memory.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace octet::router {

// Reactor: grpc::ClientReadReactor<Incoming> or a grpc::ClientBidiReactor that reads Incoming. Made by
// std::make_shared; gRPC's threads do nothing here but put messages together and post. Public members: event
// loop only, done() aside.
template <typename Reactor, typename Incoming>
class LoopStream : public Reactor, public std::enable_shared_from_this<LoopStream<Reactor, Incoming>> {
 public:
  // Not called after close(). in_one: may be empty; else it makes one message of those that came in a turn.
  struct Events {
    std::function<void(const Incoming&)> on_message;
    std::function<void(const grpc::Status&)> on_end;  // the last call
    std::function<Incoming(std::vector<Incoming>)> in_one = nullptr;
  };

  LoopStream(boost::asio::io_context& loop, Events events)
      : loop_(loop), events_(std::move(events)), done_future_(done_.get_future()) {}

  grpc::ClientContext* context() { return &context_; }

  // After the stub's method has bound this reactor to a call.
  void open() {
    keep_alive_ = this->shared_from_this();
    this->AddHold();  // reads and writes start on the loop, not inside a reaction
    this->StartRead(&incoming_);
    this->StartCall();
  }

  // Ends the call; no event comes any more.
  void close() {
    closed_ = true;
    context_.TryCancel();
    release();
  }

  // Ready once gRPC has let go of the stream: some moments after close() or on_end, whether or not the loop
  // runs.
  std::shared_future<void> done() const { return done_future_; }

 protected:
  bool closed() const { return closed_; }
  // Runs f on the loop unless the stream is closed by then.
  template <typename F>
  void on_loop(F f) {
    boost::asio::post(loop_, [self = this->shared_from_this(), f = std::move(f)]() mutable {
      if (!self->closed_) f();
    });
  }

 private:
  // Of messages that wait for the loop; above it nothing is read.
  static constexpr size_t kMaxWaitingBytes = 1 << 20;

  void OnReadDone(bool ok) override {
    bool reads_on = false;
    bool loop_knows = false;
    {
      const std::lock_guard lock(mutex_);
      if (ok) {
        num_waiting_bytes_ += incoming_.ByteSizeLong();
        waiting_.push_back(std::move(incoming_));
      }
      reads_on = ok && num_waiting_bytes_ < kMaxWaitingBytes;
      reading_ = reads_on ? Reading::kOn : ok ? Reading::kPaused : Reading::kEnded;
      loop_knows = std::exchange(loop_knows_, true);
    }
    if (reads_on) this->StartRead(&incoming_);
    if (!loop_knows) on_loop([this] { take_waiting(); });
  }

  void take_waiting() {
    std::vector<Incoming> messages;
    Reading reading;
    {
      const std::lock_guard lock(mutex_);
      messages.swap(waiting_);
      num_waiting_bytes_ = 0;
      loop_knows_ = false;
      reading = reading_;
    }
    if (events_.in_one && !messages.empty()) {
      events_.on_message(events_.in_one(std::exchange(messages, {})));
    }
    for (const Incoming& message : messages) {
      if (!closed_) events_.on_message(message);
    }
    if (closed_) return;
    if (reading == Reading::kEnded) release();
    if (reading == Reading::kPaused) this->StartRead(&incoming_);
  }

  void OnDone(const grpc::Status& status) override {
    std::promise<void> done = std::move(done_);
    // The loop is the last to let go of the stream, and with it of the channel, whose end waits for gRPC's
    // threads: on one of them it would wait for itself. From the post on there may be no `this`.
    boost::asio::post(loop_, [self = std::move(keep_alive_), status] {
      if (std::exchange(self->closed_, true)) return;
      self->events_.on_end(status);
    });
    done.set_value();
  }

  void release() {
    if (std::exchange(held_, false)) this->RemoveHold();
  }

  boost::asio::io_context& loop_;
  const Events events_;
  grpc::ClientContext context_;
  Incoming incoming_;

  enum class Reading { kOn, kPaused, kEnded };
  std::mutex mutex_;  // guards what follows, up to closed_
  std::vector<Incoming> waiting_;
  size_t num_waiting_bytes_ = 0;
  Reading reading_ = Reading::kOn;
  bool loop_knows_ = false;  // that something waits

  bool closed_ = false;
  bool held_ = true;
  std::promise<void> done_;
  std::shared_future<void> done_future_;
  std::shared_ptr<LoopStream> keep_alive_;  // from open() until gRPC is done
};

}  // namespace octet::router
