// A later stage: takes plans from the lead, which it registers with, and activations from the previous stage.
#include <algorithm>
#include <atomic>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "worker/engine/stage_executor.h"
#include "worker/link/link.h"
#include "worker/process.h"
#include "worker/rpc/registrar.h"
#include "worker/rpc/stage_service.h"

namespace octet::worker {
namespace {

// A drained stage may go when no plan has come for so long: its lead has no work, or another stage failed.
constexpr Duration kIdleBeforeExit = std::chrono::seconds(1);

class StageProcess final : public WorkerProcess {
 public:
  StageProcess(const WorkerConfig& config, std::unique_ptr<PipelineStage> stage,
               std::unique_ptr<TcpLinkListener> listener, WorkerMetrics& metrics,
               std::shared_ptr<TlsFiles> cluster)
      : config_(config),
        cluster_(std::move(cluster)),
        stage_(std::move(stage)),
        listener_(std::move(listener)),
        executor_(*stage_, listener_.get()),
        service_(executor_, describe(config, stage_->shape()), wire_limits(config, stage_->shape()), metrics,
                 [this] { on_idle(); }) {}
  ~StageProcess() override { executor_.stop(); }  // before what it calls

  std::vector<grpc::Service*> services() override { return {&service_}; }
  int link_port() const override { return listener_->port(); }

  void start(int port) override {
    const std::string host = config_.advertise_host;
    const std::string stage_address = absl::StrCat(host, ":", port);
    const std::string link_address = absl::StrCat(host, ":", listener_->port());
    const std::lock_guard lock(mutex_);
    registrar_ = std::make_unique<Registrar>(
        config_.lead_address, cluster_, [this] { return !draining_ && !service_.in_service(); },
        [=, this] {
          return Registration{service_.description(), stage_address, link_address};
        });
  }

  bool ready() const override { return !draining_ && service_.in_service(); }

  bool progressing() const override {
    const std::optional<Time> busy_since = executor_.busy_since();
    return !busy_since || now() - *busy_since < config_.step_timeout + std::chrono::seconds(1);
  }

  std::optional<Time> last_step() const override { return executor_.last_step(); }

  std::optional<absl::Status> failure() const override {
    const std::lock_guard lock(mutex_);
    return registrar_ ? registrar_->refusal() : std::nullopt;
  }

  void drain(Time) override {
    draining_ = true;
    drain_began_ = now();
  }

  bool drained() const override {
    if (!service_.in_service()) return true;
    const Time last_work = std::max(drain_began_, executor_.last_step().value_or(drain_began_));
    return !executor_.busy_since() && now() - last_work > kIdleBeforeExit;
  }

  void stop() override {
    executor_.stop();  // a join that waits is answered, or the server would wait for it
    const std::lock_guard lock(mutex_);
    registrar_.reset();
  }

 private:
  void on_idle() {
    const std::lock_guard lock(mutex_);
    if (registrar_) registrar_->wake();
  }

  const WorkerConfig config_;
  const std::shared_ptr<TlsFiles> cluster_;
  const std::unique_ptr<PipelineStage> stage_;
  const std::unique_ptr<TcpLinkListener> listener_;
  StageExecutor executor_;
  StageService service_;
  std::atomic<bool> draining_{false};
  Time drain_began_;

  mutable std::mutex mutex_;
  std::unique_ptr<Registrar> registrar_;  // between start() and stop()
};

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerProcess>> make_stage_process(const WorkerConfig& config,
                                                                  std::unique_ptr<PipelineStage> stage,
                                                                  WorkerMetrics& metrics,
                                                                  std::shared_ptr<TlsFiles> cluster) {
  absl::StatusOr<std::unique_ptr<TcpLinkListener>> listener =
      TcpLinkListener::listen(config.host, config.link_port);
  if (!listener.ok()) {
    return absl::Status(listener.status().code(), absl::StrCat("--link-port: ", listener.status().message()));
  }
  return std::make_unique<StageProcess>(config, std::move(stage), *std::move(listener), metrics,
                                        std::move(cluster));
}

}  // namespace octet::worker
