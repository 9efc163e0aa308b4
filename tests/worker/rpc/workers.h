// A lead and its later stages in one process, joined by gRPC and TCP over loopback as between machines.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/grpc_server.h"
#include "worker/process.h"
#include "worker/stage/stage.h"

namespace octet::worker {

inline WorkerConfig nano_worker(int stage, int num_stages, const std::string& lead_address = "") {
  WorkerConfig config;
  config.model_dir = "deploy/nano";
  config.stage = stage;
  config.num_stages = num_stages;
  config.max_micro_batches = static_cast<uint32_t>(num_stages);
  config.lead_address = lead_address;
  config.advertise_host = "127.0.0.1";
  config.host = "127.0.0.1";
  return config;
}

// What main does with one worker.
class RunningWorker {
 public:
  explicit RunningWorker(const WorkerConfig& config, std::shared_ptr<TlsFiles> cluster = nullptr)
      : metrics_({0, 1, 2, 3}) {
    StageConfig stage;
    stage.model_dir = config.model_dir;
    stage.stage = config.stage;
    stage.num_stages = config.num_stages;
    stage.num_ranks = config.num_ranks;
    stage.block_size = config.block_size;
    stage.max_batch_tokens = config.max_batch_tokens;
    stage.deterministic = config.deterministic;
    if (config.kv_cache_mib > 0) stage.kv_cache_bytes = config.kv_cache_mib << 20;
    stage.step_timeout = config.step_timeout;
    auto loaded = Stage::load(stage).value();
    process_ = (config.stage == 0 ? make_lead_process(config, std::move(loaded), metrics_, cluster)
                                  : make_stage_process(config, std::move(loaded), metrics_, cluster))
                   .value();
    GrpcServer::Options options;
    options.host = "127.0.0.1";
    options.tls = cluster;
    server_ = GrpcServer::start(options, process_->services()).value();
    process_->start(server_->port());
  }
  ~RunningWorker() {
    process_->stop();
    server_->shutdown(std::chrono::milliseconds(200));
  }

  std::string address() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  WorkerProcess& process() { return *process_; }
  WorkerMetrics& metrics() { return metrics_; }

  // Waits for at most 30 s, and fails the test then.
  void wait_until_ready() {
    const Time deadline = now() + std::chrono::seconds(30);
    while (!process_->ready()) {
      if (now() > deadline) {
        ADD_FAILURE() << "the worker did not become ready";
        return;
      }
      std::this_thread::yield();
    }
  }

 private:
  WorkerMetrics metrics_;
  std::unique_ptr<WorkerProcess> process_;
  std::unique_ptr<GrpcServer> server_;
};

// Lead first.
inline std::vector<std::unique_ptr<RunningWorker>> start_pipeline(int num_stages) {
  std::vector<std::unique_ptr<RunningWorker>> workers;
  for (int stage = 0; stage < num_stages; ++stage) {
    workers.push_back(std::make_unique<RunningWorker>(
        nano_worker(stage, num_stages, stage == 0 ? "" : workers[0]->address())));
  }
  workers[0]->wait_until_ready();
  return workers;
}

}  // namespace octet::worker
