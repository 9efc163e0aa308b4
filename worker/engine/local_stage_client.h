// The lead's own stage, as the engine sees it.
#pragma once

#include <memory>

#include "worker/engine/stage_client.h"
#include "worker/engine/stage_executor.h"

namespace octet::worker {

class LocalStageClient : public StageClient {
 public:
  // The executor outlives the client and serves one at a time.
  LocalStageClient(int stage, StageExecutor& executor, std::shared_ptr<StageEvents> events);
  ~LocalStageClient() override;

  void join(const JoinCommand& command) override;
  void execute(std::shared_ptr<const BatchPlan> plan) override;

 private:
  const int stage_;
  StageExecutor& executor_;
  const std::shared_ptr<StageEvents> events_;
  uint64_t epoch_ = 0;
};

}  // namespace octet::worker
