#include "worker/run_worker.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <future>
#include <numeric>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/credential_metrics.h"
#include "base/credentials.h"
#include "base/grpc_server.h"
#include "base/log.h"
#include "base/metrics_endpoint.h"
#include "base/progress.h"
#include "base/status.h"
#include "base/stop_signal.h"
#include "base/time_slice.h"
#include "worker/config.h"
#include "worker/metrics.h"
#include "worker/process.h"
#include "worker/simulated/simulated_stage.h"
#include "worker/stage/stage.h"

namespace octet::worker {
namespace {

constexpr Duration kTick = std::chrono::milliseconds(100);  // of health and of waits for signals
constexpr std::chrono::milliseconds kCallsEndTimeout(500);  // of open calls, once the streams are told to end

PinThreads pin_threads(const WorkerConfig& config) {
  if (config.pin_threads == "on") return PinThreads::kOn;
  return config.pin_threads == "off" ? PinThreads::kOff : PinThreads::kAuto;
}

StageConfig stage_config(const WorkerConfig& config) {
  StageConfig stage;
  stage.model_dir = config.model_dir;
  stage.stage = config.stage;
  stage.num_stages = config.num_stages;
  stage.num_ranks = config.num_ranks;
  stage.threads_per_rank = config.threads_per_rank;
  stage.backend = config.backend;
  stage.pin_threads = pin_threads(config);
  stage.cpu_isa = kernels::cpu_isa_named(config.cpu_isa);
  stage.weights = weight_options_named(config.weights, config.activations);
  stage.kv_cache_type = kv_cache_type_named(config.kv_cache_dtype);
  stage.deterministic = config.deterministic;
  stage.layers_per_stage = config.layers_per_stage;
  stage.block_size = config.block_size;
  stage.max_batch_tokens = config.max_batch_tokens;
  if (config.kv_cache_mib > 0) stage.kv_cache_bytes = config.kv_cache_mib << 20;
  stage.join_timeout = config.join_timeout;
  stage.step_timeout = config.step_timeout;
  return stage;
}

absl::StatusOr<std::unique_ptr<PipelineStage>> load_stage(const WorkerConfig& config,
                                                          const RankFactory& make_ranks) {
  if (config.backend != "simulated") return Stage::load(stage_config(config), make_ranks);
  return SimulatedStage::load(stage_config(config),
                              {config.simulated_step_time, config.simulated_token_time});
}

absl::StatusOr<std::unique_ptr<PipelineStage>> load(const WorkerConfig& config, const RankFactory& make_ranks,
                                                    WorkerMetrics& metrics) {
  const Time began = now();
  auto stage = load_stage(config, make_ranks);
  if (!stage.ok()) return stage;
  const StageShape& shape = (*stage)->shape();
  metrics.load_seconds.Set(seconds(now() - began));
  spdlog::info(
      "loaded {}: layers {} to {} of {}, {} MiB of weights, {} KV cache blocks of {} tokens in {}, in {:.2f} "
      "s",
      shape.model.name, shape.layers.first, shape.layers.end - 1, shape.model.num_layers,
      shape.weight_bytes >> 20, shape.num_blocks, config.block_size,
      shape.kv_cache_type == kernels::DType::kBFloat16 ? "bf16" : "fp32", seconds(now() - began));
  return stage;
}

// The file appears whole or not at all, so that who waits for it can read it.
absl::Status write_port_file(const std::string& path, int port, int metrics_port, int link_port) {
  const std::string partial = path + ".partial";
  std::ofstream out(partial, std::ios::trunc);
  out << "{\"port\": " << port << ", \"metrics_port\": " << metrics_port << ", \"link_port\": " << link_port
      << "}\n";
  out.close();
  if (!out || std::rename(partial.c_str(), path.c_str()) != 0) {
    return absl::UnavailableError(absl::StrCat("--port-file: cannot write ", path));
  }
  return absl::OkStatus();
}

// One worker's life after its flags are read.
class Worker {
 public:
  // make_ranks: see Stage::load().
  Worker(const WorkerConfig& config, RankFactory make_ranks)
      : config_(config), make_ranks_(std::move(make_ranks)), metrics_(reported_stages(config)) {
    metrics_.set_backend(config.backend);
  }

  absl::Status run(StopSignal& stop) {
    absl::StatusOr<std::shared_ptr<TlsFiles>> cluster =
        open_if_given(config_.cluster, TlsFiles::Use::kCluster);
    if (!cluster.ok()) return cluster.status();
    cluster_ = *std::move(cluster);
    absl::StatusOr<std::shared_ptr<TlsFiles>> metrics_tls =
        open_if_given(config_.metrics_tls, TlsFiles::Use::kPublic);
    if (!metrics_tls.ok()) return metrics_tls.status();
    metrics_tls_ = *std::move(metrics_tls);
    credential_metrics_.emplace(*metrics_.registry(), std::vector<CredentialMetrics::Files>{
                                                          {"metrics", metrics_tls_}, {"cluster", cluster_}});
    if (absl::Status status = open_metrics(); !status.ok()) return status;
    absl::StatusOr<std::unique_ptr<PipelineStage>> stage = load_or_stop(stop);
    if (!stage.ok()) return stage.status();
    if (config_.check_model || *stage == nullptr) return absl::OkStatus();
    if (absl::Status status = open_services(*std::move(stage)); !status.ok()) return status;
    absl::Status status = serve(stop);
    process_->stop();
    server_->shutdown(kCallsEndTimeout);
    return status;
  }

 private:
  // The lead tells of all stages.
  static std::vector<int> reported_stages(const WorkerConfig& config) {
    if (config.stage > 0) return {config.stage};
    std::vector<int> stages(static_cast<size_t>(config.num_stages));
    std::iota(stages.begin(), stages.end(), 0);
    return stages;
  }

  absl::Status open_metrics() {
    if (config_.check_model) return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<MetricsEndpoint>> endpoint = MetricsEndpoint::listen(
        config_.host, config_.metrics_port, metrics_.registry(), [this] { return ready_.load(); },
        [this] { return live_.load(); }, metrics_tls_);
    if (!endpoint.ok()) {
      return absl::Status(endpoint.status().code(),
                          absl::StrCat("--metrics-port: ", endpoint.status().message()));
    }
    metrics_endpoint_ = *std::move(endpoint);
    return absl::OkStatus();
  }

  // Null when a signal came first.
  absl::StatusOr<std::unique_ptr<PipelineStage>> load_or_stop(StopSignal& stop) {
    auto loading = std::async(std::launch::async, [this] { return load(config_, make_ranks_, metrics_); });
    while (loading.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
      if (stop.wait(now() + std::chrono::milliseconds(10)) != 0) {
        spdlog::info("stopped while loading");
        std::_Exit(0);  // nothing was promised to anyone, and the load cannot be interrupted
      }
    }
    return loading.get();
  }

  absl::Status open_services(std::unique_ptr<PipelineStage> stage) {
    absl::StatusOr<std::unique_ptr<WorkerProcess>> process =
        config_.stage == 0 ? make_lead_process(config_, std::move(stage), metrics_, cluster_)
                           : make_stage_process(config_, std::move(stage), metrics_, cluster_);
    if (!process.ok()) return process.status();
    process_ = *std::move(process);
    request_short_time_slices();  // not of the threads that compute, which run already
    GrpcServer::Options options;
    options.host = config_.host;
    options.port = config_.port;
    options.tls = cluster_;
    absl::StatusOr<std::unique_ptr<GrpcServer>> server = GrpcServer::start(options, process_->services());
    if (!server.ok()) {
      return absl::Status(server.status().code(), absl::StrCat("--port: ", server.status().message()));
    }
    server_ = *std::move(server);
    spdlog::info("stage {} of {} listens on {}: port {}, metrics port {}, link port {}", config_.stage,
                 config_.num_stages, config_.host, server_->port(), metrics_endpoint_->port(),
                 process_->link_port());
    process_->start(server_->port());
    if (config_.port_file.empty()) return absl::OkStatus();
    return write_port_file(config_.port_file, server_->port(), metrics_endpoint_->port(),
                           process_->link_port());
  }

  // Until a signal, and then until the work is done.
  absl::Status serve(StopSignal& stop) {
    int signal = 0;
    while (signal == 0) {
      publish_health(process_->ready());
      if (const std::optional<absl::Status> failure = process_->failure()) return *failure;
      signal = stop.wait(now() + kTick);
    }
    spdlog::info("signal {}: draining for at most {} s", signal, seconds(config_.drain_timeout));
    const Time deadline = now() + config_.drain_timeout;
    process_->drain(deadline);
    while (!process_->drained() && now() < deadline) {
      publish_health(false);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    publish_health(false);
    spdlog::info(process_->drained() ? "drained" : "work is left after --drain-timeout");
    return absl::OkStatus();
  }

  void publish_health(bool ready) {
    credential_metrics_->update();
    ready_ = ready;
    metrics_.ready.Set(ready ? 1 : 0);
    server_->set_serving("ready", ready);
    const bool progressing = process_->progressing();
    if (progress_.set(progressing, now())) {
      spdlog::log(
          progressing ? spdlog::level::info : spdlog::level::err, "stage {} {}", config_.stage,
          progressing ? "makes progress again" : "makes no progress: work in flight is past --step-timeout");
    }
    live_ = progress_.live(now());
    metrics_.progressing.Set(progressing ? 1 : 0);
    server_->set_serving("progress", progressing);
    server_->set_serving("live", live_);
    const std::optional<Time> last_step = process_->last_step();
    if (last_step) metrics_.last_step_age_seconds.Set(seconds(now() - *last_step));
  }

  const WorkerConfig config_;
  const RankFactory make_ranks_;
  WorkerMetrics metrics_;
  std::shared_ptr<TlsFiles> cluster_;                    // null: no TLS
  std::shared_ptr<TlsFiles> metrics_tls_;                // null: no TLS
  std::optional<CredentialMetrics> credential_metrics_;  // from run() on
  std::atomic<bool> ready_{false};
  Progress progress_;
  std::atomic<bool> live_{true};
  std::unique_ptr<MetricsEndpoint> metrics_endpoint_;
  std::unique_ptr<WorkerProcess> process_;
  std::unique_ptr<GrpcServer> server_;
};

}  // namespace

int run_worker(int argc, char** argv, const OtherBackends& other_backends) {
  StopSignal stop;
  std::vector<std::string> names;
  for (const auto& [name, make_ranks] : other_backends) names.push_back(name);
  const absl::StatusOr<std::optional<WorkerConfig>> config = read_worker_config(argc, argv, names);
  if (!config.ok()) {
    std::fprintf(stderr, "octet-worker: %s\n", text_of(config.status()).c_str());
    return 1;
  }
  if (!*config) return 0;
  const char* const kind = (*config)->backend == "simulated" ? "simulated-worker-" : "worker-";
  start_logging(absl::StrCat(kind, (*config)->stage), (*config)->log_level);
  const auto other = other_backends.find((*config)->backend);
  const absl::Status status =
      Worker(**config, other == other_backends.end() ? RankFactory() : other->second).run(stop);
  if (!status.ok()) {
    spdlog::error("{}", text_of(status));
    return 1;
  }
  return 0;
}

}  // namespace octet::worker
