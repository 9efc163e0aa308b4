#include "worker/rpc/stage_service.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/grpc_server.h"
#include "base/log.h"
#include "base/status.h"
#include "worker/rpc/server_stream.h"

namespace octet::worker {
namespace {

constexpr size_t kMaxQueuedBytes = 64 << 20;
constexpr std::chrono::milliseconds kMaxJoinTimeout = std::chrono::minutes(10);

}  // namespace

// The lead's plans of one epoch.
class StageService::ExecuteStream final
    : public ServerStream<grpc::ServerBidiReactor<v1::ExecuteRequest, v1::ExecuteResponse>,
                          v1::ExecuteResponse> {
 public:
  ExecuteStream(grpc::CallbackServerContext* context, StageService& service)
      : ServerStream(context, kMaxQueuedBytes), service_(service) {}

  void begin() {
    open();
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return end(absl::OkStatus());
    if (epoch_ == 0) {
      if (absl::Status status = service_.stream_opened(request_.epoch()); !status.ok()) return end(status);
      epoch_ = request_.epoch();
    }
    if (request_.epoch() == epoch_) {
      absl::StatusOr<BatchPlan> plan = from_proto(request_.plan(), service_.limits_);
      if (!plan.ok()) return end(plan.status());
      execute(*std::move(plan));
    }
    StartRead(&request_);
  }

  void answer(const StepResult& result) {
    v1::ExecuteResponse response;
    response.set_epoch(epoch_);
    to_proto(result, response.mutable_result());
    push(std::move(response));
    service_.metrics_.record_stage_step(service_.description_.stage, result.timing);
    if (!result.error.empty()) spdlog::warn("epoch {}: {}", epoch_, loggable(result.error, 512));
  }

  void OnDone() override {
    if (epoch_ != 0) service_.stream_closed(epoch_);
    ServerStream::OnDone();
  }

 private:
  void execute(BatchPlan plan) {
    service_.executor_.execute(epoch_, std::make_shared<const BatchPlan>(std::move(plan)),
                               [self = std::static_pointer_cast<ExecuteStream>(shared_from_this())](
                                   StepResult result) { self->answer(result); });
  }

  void end(const absl::Status& status) {
    if (!status.ok()) spdlog::warn("epoch {}: {}", epoch_, loggable(text_of(status), 512));
    finish(to_grpc(status));
  }

  StageService& service_;
  v1::ExecuteRequest request_;  // being read
  uint64_t epoch_ = 0;          // of the first plan; 0 before it
};

StageService::StageService(StageExecutor& executor, const StageDescription& description,
                           const WireLimits& limits, WorkerMetrics& metrics, std::function<void()> on_idle)
    : executor_(executor),
      description_(description),
      limits_(limits),
      metrics_(metrics),
      on_idle_(std::move(on_idle)) {}

StageDescription StageService::description() const {
  StageDescription description = description_;
  description.last_epoch = executor_.last_epoch();
  return description;
}

bool StageService::in_service() const {
  const std::lock_guard lock(mutex_);
  return streaming_epoch_ != 0 && streaming_epoch_ == executor_.last_epoch();
}

absl::Status StageService::stream_opened(uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  if (epoch == 0 || epoch != executor_.last_epoch()) {
    return absl::FailedPreconditionError(
        absl::StrCat("epoch ", epoch, " is not the one that was joined, ", executor_.last_epoch()));
  }
  if (epoch == streaming_epoch_) {
    return absl::FailedPreconditionError(absl::StrCat("epoch ", epoch, " has a stream already"));
  }
  streaming_epoch_ = epoch;
  metrics_.epoch.Set(static_cast<double>(epoch));
  return absl::OkStatus();
}

void StageService::stream_closed(uint64_t epoch) {
  executor_.end_epoch(epoch);
  spdlog::info("epoch {} has ended, the stage waits for the next", epoch);
  {
    const std::lock_guard lock(mutex_);
    if (streaming_epoch_ != epoch) return;
    streaming_epoch_ = 0;
  }
  on_idle_();
}

grpc::ServerUnaryReactor* StageService::Describe(grpc::CallbackServerContext* context,
                                                 const v1::DescribeRequest*, v1::DescribeResponse* response) {
  to_proto(description(), response->mutable_description());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* StageService::Join(grpc::CallbackServerContext* context,
                                             const v1::JoinRequest* request, v1::JoinResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  JoinCommand command;
  if (request->link_key().size() != command.link_key.size()) {
    reactor->Finish(
        to_grpc(invalid_field("link_key", absl::StrCat("must be ", command.link_key.size(), " bytes, given ",
                                                       request->link_key().size()))));
    return reactor;
  }
  std::memcpy(command.link_key.data(), request->link_key().data(), command.link_key.size());
  command.epoch = request->epoch();
  command.next_link_address = request->next_link_address();
  command.num_blocks = request->num_blocks();
  command.timeout = std::min(std::chrono::milliseconds(request->timeout_ms()), kMaxJoinTimeout);
  executor_.join(command, [reactor, epoch = command.epoch](const absl::Status& status) {
    if (status.ok()) {
      spdlog::info("joined epoch {}", epoch);
    } else {
      spdlog::warn("did not join epoch {}: {}", epoch, loggable(text_of(status), 512));
    }
    reactor->Finish(to_grpc(status));
  });
  return reactor;
}

grpc::ServerBidiReactor<v1::ExecuteRequest, v1::ExecuteResponse>* StageService::Execute(
    grpc::CallbackServerContext* context) {
  const auto stream = std::make_shared<ExecuteStream>(context, *this);
  stream->begin();
  return stream.get();
}

}  // namespace octet::worker
