// The lead: its stage, the engine, and the services for routers and later stages.
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "worker/engine/engine.h"
#include "worker/engine/local_stage_client.h"
#include "worker/engine/stage_executor.h"
#include "worker/process.h"
#include "worker/rpc/pipeline_service.h"
#include "worker/rpc/remote_stage_client.h"

namespace octet::worker {
namespace {

Engine::Config engine_config(const WorkerConfig& config, const ModelConfig& model) {
  Engine::Config engine;
  engine.scheduler.block_size = config.block_size;
  engine.scheduler.max_batch_tokens = config.max_batch_tokens;
  engine.scheduler.max_running_sequences = config.max_running_sequences;
  engine.scheduler.max_waiting_sequences = config.max_waiting_sequences;
  engine.scheduler.max_model_len = static_cast<uint32_t>(model.max_model_len);
  engine.scheduler.vocab_size = static_cast<uint32_t>(model.vocab_size);
  engine.scheduler.max_micro_batches = config.max_micro_batches;
  engine.scheduler.prefix_cache = config.prefix_cache == "on";
  engine.join_timeout = config.join_timeout;
  engine.step_timeout = config.step_timeout;
  return engine;
}

class LeadProcess final : public WorkerProcess {
 public:
  LeadProcess(const WorkerConfig& config, std::unique_ptr<PipelineStage> stage,
              std::vector<LayerRange> layers, WorkerMetrics& metrics, std::shared_ptr<TlsFiles> cluster)
      : num_stages_(config.num_stages),
        stage_(std::move(stage)),
        limits_(wire_limits(config, stage_->shape())),
        remote_stages_(limits_, std::move(cluster)),
        executor_(*stage_, nullptr),
        engine_(
            engine_config(config, stage_->shape().model),
            Formation(describe(config, stage_->shape()), std::move(layers), {}),
            [this](const Registration& registration, std::shared_ptr<StageEvents> events) {
              return make_client(registration, std::move(events));
            },
            metrics),
        pipeline_service_(engine_, {stage_->shape().model, config.backend, limits_}),
        registry_service_(engine_) {}
  ~LeadProcess() override { engine_.stop(); }  // before what it calls

  std::vector<grpc::Service*> services() override { return {&pipeline_service_, &registry_service_}; }
  int link_port() const override { return 0; }

  void start(int) override {
    engine_.start([this](PipelineState) { pipeline_service_.on_state_change(); });
    if (num_stages_ > 1) {
      spdlog::info("waiting for stages 1 to {} to register", num_stages_ - 1);
    }
  }

  bool ready() const override { return engine_.status().state == PipelineState::kReady; }

  bool progressing() const override { return engine_.status().state != PipelineState::kStalled; }

  std::optional<Time> last_step() const override { return engine_.status().last_step; }
  std::optional<absl::Status> failure() const override { return std::nullopt; }
  void drain(Time end) override { engine_.drain(end); }

  bool drained() const override {
    const EngineStatus status = engine_.status();
    return status.state == PipelineState::kDraining && status.num_sequences == 0;
  }

  void stop() override { pipeline_service_.stop(); }

 private:
  std::unique_ptr<StageClient> make_client(const Registration& registration,
                                           std::shared_ptr<StageEvents> events) {
    if (registration.description.stage == 0) {
      return std::make_unique<LocalStageClient>(0, executor_, std::move(events));
    }
    return remote_stages_.make(registration, std::move(events));
  }

  const int num_stages_;
  const std::unique_ptr<PipelineStage> stage_;
  const WireLimits limits_;
  RemoteStageClients remote_stages_;
  StageExecutor executor_;
  Engine engine_;
  PipelineService pipeline_service_;
  RegistryService registry_service_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerProcess>> make_lead_process(const WorkerConfig& config,
                                                                 std::unique_ptr<PipelineStage> stage,
                                                                 WorkerMetrics& metrics,
                                                                 std::shared_ptr<TlsFiles> cluster) {
  absl::StatusOr<std::vector<LayerRange>> layers =
      split_layers(stage->shape().model, config.num_stages, config.layers_per_stage);
  if (!layers.ok()) return layers.status();
  return std::make_unique<LeadProcess>(config, std::move(stage), *std::move(layers), metrics,
                                       std::move(cluster));
}

}  // namespace octet::worker
