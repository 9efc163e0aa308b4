// octet.v1.Pipeline and octet.v1.Registry, which the lead serves: for routers and for the later stages.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "octet/v1/pipeline.grpc.pb.h"
#include "octet/v1/stage.grpc.pb.h"
#include "worker/engine/engine.h"
#include "worker/model/model_config.h"
#include "worker/rpc/convert.h"

namespace octet::worker {

class SubmitStream;

class PipelineService final : public v1::Pipeline::CallbackService {
 public:
  struct Served {
    ModelConfig model;
    std::string backend;
    WireLimits limits;
  };
  // The engine outlives the service's server.
  PipelineService(Engine& engine, const Served& served);
  ~PipelineService() override;

  // Watchers hear of it at once. From any thread, without waiting.
  void on_state_change();
  // Ends all streams with UNAVAILABLE and refuses new ones.
  void stop();

  grpc::ServerBidiReactor<v1::SubmitRequest, v1::SubmitResponse>* Submit(
      grpc::CallbackServerContext* context) override;
  grpc::ServerWriteReactor<v1::WatchResponse>* Watch(grpc::CallbackServerContext* context,
                                                     const v1::WatchRequest* request) override;

 private:
  class WatchStream;
  void watch();

  Engine& engine_;
  const Served served_;
  uint64_t sequence_number_ = 0;  // of the watch thread

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<WatchStream>> watchers_;
  std::vector<std::weak_ptr<SubmitStream>> submit_streams_;
  bool state_changed_ = false;
  bool stopped_ = false;

  std::thread watch_thread_;  // last: runs over all of the above
};

class RegistryService final : public v1::Registry::CallbackService {
 public:
  explicit RegistryService(Engine& engine) : engine_(engine) {}
  grpc::ServerUnaryReactor* Register(grpc::CallbackServerContext* context, const v1::RegisterRequest* request,
                                     v1::RegisterResponse* response) override;

 private:
  Engine& engine_;
};

}  // namespace octet::worker
