#include "worker/rpc/remote_stage_client.h"

#include <chrono>
#include <deque>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/grpc_server.h"
#include "base/log.h"
#include "octet/v1/stage.grpc.pb.h"

namespace octet::worker {
namespace {
constexpr std::chrono::seconds kEndTimeout(5);  // of calls that are cancelled; they end at once
}  // namespace

// The calls of one epoch. Every method may run beside every other, so all state is under the mutex; starting
// an operation does not run callbacks, so it may happen under it.
class RemoteStageClient::Connection final
    : public grpc::ClientBidiReactor<v1::ExecuteRequest, v1::ExecuteResponse>,
      public std::enable_shared_from_this<Connection> {
 public:
  Connection(int stage, const std::shared_ptr<grpc::Channel>& channel, const WireLimits& limits,
             std::shared_ptr<StageEvents> events)
      : stage_(stage), limits_(limits), events_(std::move(events)), stub_(v1::Stage::NewStub(channel)) {}

  void join(const JoinCommand& command) {
    epoch_ = command.epoch;
    join_request_.set_epoch(command.epoch);
    join_request_.set_next_link_address(command.next_link_address);
    join_request_.set_num_blocks(command.num_blocks);
    join_request_.set_link_key(command.link_key.data(), command.link_key.size());
    join_request_.set_timeout_ms(static_cast<uint32_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(command.timeout).count()));
    join_context_.set_deadline(std::chrono::system_clock::now() + command.timeout);
    stub_->async()->Join(
        &join_context_, &join_request_, &join_response_,
        [self = shared_from_this()](const grpc::Status& status) { self->on_joined(status); });
  }

  void execute(const BatchPlan& plan) {
    v1::ExecuteRequest request;
    request.set_epoch(epoch_);
    to_proto(plan, request.mutable_plan());
    const std::lock_guard lock(mutex_);
    if (!open_) return;  // on_lost() is on its way
    queue_.push_back(std::move(request));
    if (queue_.size() == 1) StartWrite(&queue_.front());
  }

  void cancel() {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    join_context_.TryCancel();
    if (open_) {
      context_.TryCancel();
      release();
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      const std::lock_guard lock(mutex_);
      if (open_) release();
      return;
    }
    if (response_.epoch() == epoch_) {
      absl::StatusOr<StepResult> result = from_proto(response_.result(), limits_);
      if (!result.ok()) {
        events_->on_lost(stage_, epoch_, result.status());
        return cancel();
      }
      events_->on_result(stage_, epoch_, *std::move(result));
    }
    StartRead(&response_);
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    queue_.pop_front();
    if (!ok || !open_) queue_.clear();  // the read fails too and tells
    if (!queue_.empty()) StartWrite(&queue_.front());
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<Connection> last = std::move(self_);
    events_->on_lost(
        stage_, epoch_,
        status.ok() ? absl::UnavailableError("the stage has ended the stream") : from_grpc(status));
  }

 private:
  void on_joined(const grpc::Status& status) {
    {
      const std::lock_guard lock(mutex_);
      if (cancelled_) return;
      if (status.ok()) {
        open_ = true;
        self_ = shared_from_this();
        stub_->async()->Execute(&context_, this);
        AddHold();  // for execute(), which is no reaction
        StartRead(&response_);
        StartCall();
      }
    }
    events_->on_joined(stage_, epoch_, from_grpc(status));
  }

  // No more writes; gRPC may finish the call.
  void release() {
    open_ = false;
    RemoveHold();
  }

  const int stage_;
  const WireLimits limits_;
  const std::shared_ptr<StageEvents> events_;
  const std::unique_ptr<v1::Stage::Stub> stub_;
  uint64_t epoch_ = 0;

  grpc::ClientContext join_context_;
  v1::JoinRequest join_request_;
  v1::JoinResponse join_response_;

  grpc::ClientContext context_;
  v1::ExecuteResponse response_;  // being read

  std::mutex mutex_;
  bool cancelled_ = false;
  bool open_ = false;                     // the stream takes writes
  std::deque<v1::ExecuteRequest> queue_;  // the first is being written
  std::shared_ptr<Connection> self_;      // gRPC's ownership while the stream lives
};

RemoteStageClient::RemoteStageClient(int stage, std::shared_ptr<grpc::Channel> channel,
                                     const WireLimits& limits, std::shared_ptr<StageEvents> events,
                                     std::promise<void> done)
    : connection_(new Connection(stage, channel, limits, std::move(events)),
                  [done = std::make_shared<std::promise<void>>(std::move(done))](Connection* connection) {
                    delete connection;  // and with it the calls' contexts, which hold the channel
                    done->set_value();
                  }) {}

RemoteStageClient::~RemoteStageClient() {
  connection_->cancel();
}

void RemoteStageClient::join(const JoinCommand& command) {
  connection_->join(command);
}

void RemoteStageClient::execute(std::shared_ptr<const BatchPlan> plan) {
  connection_->execute(*plan);
}

RemoteStageClients::~RemoteStageClients() {
  for (const auto& [done, channel] : open_) {
    if (done.wait_for(kEndTimeout) != std::future_status::ready)
      spdlog::error("a cancelled call does not end");
  }
}

std::unique_ptr<StageClient> RemoteStageClients::make(const Registration& registration,
                                                      std::shared_ptr<StageEvents> events) {
  std::erase_if(open_, [](const auto& entry) {
    return entry.first.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
  std::promise<void> done;
  auto channel = internal_channel(registration.stage_address, cluster_.get());
  open_.emplace_back(done.get_future(), channel);
  return std::make_unique<RemoteStageClient>(registration.description.stage, std::move(channel), limits_,
                                             std::move(events), std::move(done));
}

}  // namespace octet::worker
