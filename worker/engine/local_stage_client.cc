#include "worker/engine/local_stage_client.h"

#include <utility>

namespace octet::worker {

LocalStageClient::LocalStageClient(int stage, StageExecutor& executor, std::shared_ptr<StageEvents> events)
    : stage_(stage), executor_(executor), events_(std::move(events)) {}

LocalStageClient::~LocalStageClient() {
  executor_.end_epoch(epoch_);
}

void LocalStageClient::join(const JoinCommand& command) {
  epoch_ = command.epoch;
  executor_.join(command, [events = events_, stage = stage_, epoch = epoch_](const absl::Status& status) {
    events->on_joined(stage, epoch, status);
  });
}

void LocalStageClient::execute(std::shared_ptr<const BatchPlan> plan) {
  executor_.execute(epoch_, std::move(plan),
                    [events = events_, stage = stage_, epoch = epoch_](StepResult result) {
                      events->on_result(stage, epoch, std::move(result));
                    });
}

}  // namespace octet::worker
