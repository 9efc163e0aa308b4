// A later stage, as the lead's engine sees it: Stage.Join, then one Stage.Execute stream for the epoch.
#pragma once

#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "base/credentials.h"
#include "worker/engine/stage_client.h"
#include "worker/rpc/convert.h"

namespace grpc {
class Channel;
}

namespace octet::worker {

class RemoteStageClient : public StageClient {
 public:
  // limits: for the samples that the stage answers. done: set when gRPC has let go of all calls, some moments
  // after the client is gone.
  RemoteStageClient(int stage, std::shared_ptr<grpc::Channel> channel, const WireLimits& limits,
                    std::shared_ptr<StageEvents> events, std::promise<void> done);
  // Cancels what is under way; no call waits for it.
  ~RemoteStageClient() override;

  void join(const JoinCommand& command) override;
  void execute(std::shared_ptr<const BatchPlan> plan) override;

 private:
  class Connection;
  const std::shared_ptr<Connection> connection_;  // gRPC holds it too, until its last call is over
};

// Makes the clients, and keeps each one's channel until its calls are over: when one of gRPC's own threads
// lets go of a process's last channel, it waits for itself.
class RemoteStageClients {
 public:
  // cluster: towards the stages; null: no TLS.
  RemoteStageClients(const WireLimits& limits, std::shared_ptr<TlsFiles> cluster)
      : limits_(limits), cluster_(std::move(cluster)) {}
  // Waits for gRPC to end the calls of clients that are gone. Every client must be.
  ~RemoteStageClients();

  // One thread at a time.
  std::unique_ptr<StageClient> make(const Registration& registration, std::shared_ptr<StageEvents> events);

 private:
  const WireLimits limits_;
  const std::shared_ptr<TlsFiles> cluster_;
  std::vector<std::pair<std::future<void>, std::shared_ptr<grpc::Channel>>> open_;
};

}  // namespace octet::worker
