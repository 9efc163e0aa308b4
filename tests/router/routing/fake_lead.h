// A lead stage whose answers the test writes: a real gRPC server on a free port. What it waits for has a
// deadline that ends the test program.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/grpc_server.h"
#include "base/wire_version.h"
#include "octet/v1/pipeline.grpc.pb.h"

namespace octet::router {

class FakeLead final : public v1::Pipeline::Service {
 public:
  // port 0: any free one.
  explicit FakeLead(v1::WatchResponse state, int port = 0) : state_(std::move(state)) {
    GrpcServer::Options options;
    options.host = "127.0.0.1";
    options.port = port;
    auto server = GrpcServer::start(options, {this});
    OCTET_CHECK(server.ok(), server.status().ToString());
    server_ = *std::move(server);
  }
  ~FakeLead() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      for (grpc::ServerContext* call : calls_) call->TryCancel();
    }
    changed_.notify_all();
    server_.reset();
  }

  static v1::WatchResponse ready_state(const std::string& model = "nano", uint32_t vocab_size = 1600,
                                       uint32_t running = 0) {
    v1::WatchResponse state;
    state.set_state(v1::PIPELINE_STATE_READY);
    state.set_epoch(1);
    state.mutable_model()->set_name(model);
    state.mutable_model()->set_vocab_size(vocab_size);
    state.mutable_model()->set_max_model_len_tokens(4096);
    state.mutable_model()->set_backend("cpu");
    state.set_running_sequences(running);
    state.set_wire_version(kPipelineWireVersion);
    return state;
  }

  int port() const { return server_->port(); }
  std::string address() const { return "127.0.0.1:" + std::to_string(port()); }

  // Tells it to all watchers.
  void set_state(v1::WatchResponse state) {
    {
      const std::lock_guard lock(mutex_);
      state_ = std::move(state);
      ++version_;
    }
    changed_.notify_all();
  }
  // The start that came as the i-th on any stream, counted from 0.
  v1::StartSequence started(size_t i) {
    std::unique_lock lock(mutex_);
    wait(lock, "a sequence to start", [&] { return starts_.size() > i; });
    return starts_[i];
  }
  size_t num_started() {
    const std::lock_guard lock(mutex_);
    return starts_.size();
  }
  void await_cancelled(uint64_t sequence_id) {
    std::unique_lock lock(mutex_);
    wait(lock, "a sequence to be cancelled", [&] { return cancelled_.contains(sequence_id); });
  }
  bool was_cancelled(uint64_t sequence_id) {
    const std::lock_guard lock(mutex_);
    return cancelled_.contains(sequence_id);
  }
  // The num-th Submit stream, counted from 1, is the one that answers go to from here on.
  void await_stream(int num) {
    std::unique_lock lock(mutex_);
    wait(lock, "a Submit stream", [&] { return num_streams_ >= num; });
  }
  void send(const v1::SequenceOutput& output) {
    std::unique_lock lock(mutex_);
    wait(lock, "a Submit stream", [&] { return stream_ != nullptr; });
    v1::SubmitResponse response;
    *response.add_outputs() = output;
    stream_->Write(response);
  }
  void send_tokens(uint64_t sequence_id, const std::vector<uint32_t>& tokens,
                   v1::FinishReason reason = v1::FINISH_REASON_UNSPECIFIED) {
    v1::SequenceOutput output;
    output.set_sequence_id(sequence_id);
    for (const uint32_t token : tokens) output.add_tokens()->set_token_id(token);
    output.set_finish_reason(reason);
    send(output);
  }

 private:
  using SubmitStream = grpc::ServerReaderWriter<v1::SubmitResponse, v1::SubmitRequest>;

  template <typename Condition>
  void wait(std::unique_lock<std::mutex>& lock, const char* what, Condition condition) {
    const bool came = changed_.wait_for(lock, std::chrono::seconds(30), condition);
    OCTET_CHECK(came, "the fake lead waited in vain for ", what);
  }

  grpc::Status Watch(grpc::ServerContext* call, const v1::WatchRequest*,
                     grpc::ServerWriter<v1::WatchResponse>* writer) override {
    std::unique_lock lock(mutex_);
    calls_.insert(call);
    int64_t written = -1;
    while (!stopping_ && !call->IsCancelled()) {
      if (written != version_) {
        written = version_;
        v1::WatchResponse state = state_;
        state.set_sequence_number(++sequence_number_);
        writer->Write(state);
        continue;
      }
      changed_.wait_for(lock, std::chrono::milliseconds(20));  // so that a watcher's end is noticed
    }
    calls_.erase(call);
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "stopping");
  }

  grpc::Status Submit(grpc::ServerContext* call, SubmitStream* stream) override {
    {
      const std::lock_guard lock(mutex_);
      calls_.insert(call);
      stream_ = stream;
      ++num_streams_;
      if (stopping_) call->TryCancel();
    }
    changed_.notify_all();
    v1::SubmitRequest request;
    while (stream->Read(&request)) {
      const std::lock_guard lock(mutex_);
      if (request.has_start()) starts_.push_back(request.start());
      if (request.has_cancel()) cancelled_.insert(request.cancel().sequence_id());
      changed_.notify_all();
    }
    const std::lock_guard lock(mutex_);
    calls_.erase(call);
    if (stream_ == stream) stream_ = nullptr;
    return grpc::Status::OK;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  v1::WatchResponse state_;
  int64_t version_ = 0;
  uint64_t sequence_number_ = 0;
  std::set<grpc::ServerContext*> calls_;
  SubmitStream* stream_ = nullptr;
  int num_streams_ = 0;
  std::vector<v1::StartSequence> starts_;
  std::set<uint64_t> cancelled_;
  std::unique_ptr<GrpcServer> server_;
};

}  // namespace octet::router
