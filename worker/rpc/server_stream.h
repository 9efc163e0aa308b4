// The writing half of a server's stream: messages from any thread wait in a bounded queue and go out one at a
// time.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace octet::worker {

// Reactor: grpc::ServerBidiReactor<Request, Response> or grpc::ServerWriteReactor<Response>. Lives until gRPC
// and all other owners are done with it; made by make_shared, and open() called before it is returned to
// gRPC.
template <typename Reactor, typename Response>
class ServerStream : public Reactor, public std::enable_shared_from_this<ServerStream<Reactor, Response>> {
 public:
  // max_bytes: most bytes that wait to be written.
  ServerStream(grpc::CallbackServerContext* context, size_t max_bytes)
      : context_(context), max_bytes_(max_bytes) {}

  void open() { self_ = this->shared_from_this(); }

  // False when the stream is ending, or the peer reads too slowly: then the stream is cancelled.
  bool push(Response response) {
    const std::lock_guard lock(mutex_);
    if (ending_) return false;
    const size_t num_bytes = response.ByteSizeLong();
    if (!queue_.empty() && queued_bytes_ + num_bytes > max_bytes_) {
      ending_ = grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the stream is read too slowly");
      context_->TryCancel();  // a write that the peer does not take would never end
      return false;
    }
    queued_bytes_ += num_bytes;
    if (queue_.size() > 1 && join(queue_.back().response, response)) {
      queue_.back().num_bytes += num_bytes;
      return true;
    }
    queue_.push_back({std::move(response), num_bytes});
    if (queue_.size() == 1) this->StartWrite(&queue_.front().response);
    return true;
  }

  // Nothing waits to be written.
  bool idle() const {
    const std::lock_guard lock(mutex_);
    return queue_.empty();
  }

  // Ends the stream after the message that is being written.
  void finish(const grpc::Status& status) {
    const std::lock_guard lock(mutex_);
    if (!ending_) ending_ = status;
    finish_if_idle();
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    queued_bytes_ -= queue_.front().num_bytes;
    queue_.pop_front();
    if (!ok && !ending_) ending_ = grpc::Status::CANCELLED;
    if (ending_) {
      queue_.clear();
      finish_if_idle();
    } else if (!queue_.empty()) {
      this->StartWrite(&queue_.front().response);
    }
  }

  void OnCancel() override { finish(grpc::Status::CANCELLED); }

  void OnDone() override { self_.reset(); }

 protected:
  // Puts `next` behind `waiting`, which is not being written yet. False: it stays a message of its own.
  virtual bool join(Response& waiting, Response& next) {
    (void)waiting;
    (void)next;
    return false;
  }

 private:
  struct Queued {
    Response response;
    size_t num_bytes;
  };

  void finish_if_idle() {
    if (!queue_.empty() || finished_) return;
    finished_ = true;
    this->Finish(*ending_);
  }

  grpc::CallbackServerContext* const context_;
  const size_t max_bytes_;
  mutable std::mutex mutex_;
  std::deque<Queued> queue_;  // the first is being written
  size_t queued_bytes_ = 0;
  std::optional<grpc::Status> ending_;
  bool finished_ = false;
  std::shared_ptr<ServerStream> self_;  // gRPC's ownership
};

}  // namespace octet::worker
