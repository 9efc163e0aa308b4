// A later stage, as the lead's engine sees it: Stage.Join, then one Stage.Execute stream for the epoch.
#pragma once

#include <memory>

#include "worker/engine/stage_client.h"
#include "worker/rpc/convert.h"

namespace octet::worker {

class RemoteStageClient : public StageClient {
 public:
  // limits: for the samples that the stage answers.
  RemoteStageClient(const Registration& registration, const WireLimits& limits,
                    std::shared_ptr<StageEvents> events);
  // Cancels what is under way; no call waits for it.
  ~RemoteStageClient() override;

  void join(const JoinCommand& command) override;
  void execute(std::shared_ptr<const BatchPlan> plan) override;

 private:
  class Connection;
  const std::shared_ptr<Connection> connection_;  // gRPC holds it too, until its last call is over
};

}  // namespace octet::worker
