// octet.v1.Stage, which every stage but the lead serves: takes joins and plans for the stage's executor.
#pragma once

#include <functional>
#include <mutex>

#include "octet/v1/stage.grpc.pb.h"
#include "worker/engine/stage_client.h"
#include "worker/engine/stage_executor.h"
#include "worker/metrics.h"
#include "worker/rpc/convert.h"

namespace octet::worker {

class StageService final : public v1::Stage::CallbackService {
 public:
  // The metrics outlive the service; the executor is stopped before its end. on_idle: called when the lead's
  // stream has ended, from any thread; must not block.
  StageService(StageExecutor& executor, const StageDescription& description, const WireLimits& limits,
               WorkerMetrics& metrics, std::function<void()> on_idle);

  // What the stage holds now.
  StageDescription description() const;
  // The lead executes the newest epoch here.
  bool in_service() const;

  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context, const v1::DescribeRequest* request,
                                     v1::DescribeResponse* response) override;
  grpc::ServerUnaryReactor* Join(grpc::CallbackServerContext* context, const v1::JoinRequest* request,
                                 v1::JoinResponse* response) override;
  grpc::ServerBidiReactor<v1::ExecuteRequest, v1::ExecuteResponse>* Execute(
      grpc::CallbackServerContext* context) override;

 private:
  class ExecuteStream;
  // Errors: FAILED_PRECONDITION unless the epoch is the newest that was joined and has no stream yet.
  absl::Status stream_opened(uint64_t epoch);
  void stream_closed(uint64_t epoch);

  StageExecutor& executor_;
  const StageDescription description_;
  const WireLimits limits_;
  WorkerMetrics& metrics_;
  const std::function<void()> on_idle_;

  mutable std::mutex mutex_;
  uint64_t streaming_epoch_ = 0;  // of the newest epoch's open Execute stream; 0: none
};

}  // namespace octet::worker
