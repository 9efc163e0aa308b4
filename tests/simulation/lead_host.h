// A lead's process: the real engine with a real executor on a HashStage, and what worker/lead_process and
// worker/rpc do around them, on the virtual network.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/hash_stage.h"
#include "tests/simulation/network.h"
#include "worker/engine/engine.h"
#include "worker/engine/stage_executor.h"
#include "worker/rpc/convert.h"

namespace octet::simulation {

// Made and destroyed on a fiber of its process.
class LeadHost {
 public:
  LeadHost(const PipelineShape& pipeline, const worker::Engine::Config& config, const std::string& address);
  ~LeadHost();

  worker::EngineStatus status() const { return engine_.status(); }
  HashStage& stage() { return stage_; }
  // Takes nothing new; what is left then ends with the process.
  void drain(Duration time_left) { engine_.drain(now() + time_left); }

 private:
  class RouterStream;
  struct Watcher;
  void accept(const std::string& service, const std::shared_ptr<End>& end);
  void take_registration(const google::protobuf::Message& message, const std::shared_ptr<End>& end);
  void watch(const std::shared_ptr<Watcher>& watcher);
  void tell(Watcher& watcher);
  void on_state_change();
  std::unique_ptr<worker::StageClient> make_client(const worker::Registration& registration,
                                                   std::shared_ptr<worker::StageEvents> events);

  const PipelineShape pipeline_;
  const worker::WireLimits limits_;
  worker::WorkerMetrics metrics_;
  HashStage stage_;
  worker::StageExecutor executor_;
  std::vector<std::weak_ptr<Watcher>> watchers_;
  uint64_t sequence_number_ = 0;
  worker::Engine engine_;
};

// How the lead reaches a later stage, as worker/rpc/remote_stage_client.h does.
std::unique_ptr<worker::StageClient> make_remote_client(const PipelineShape& pipeline,
                                                        const worker::Registration& registration,
                                                        std::shared_ptr<worker::StageEvents> events);

}  // namespace octet::simulation
