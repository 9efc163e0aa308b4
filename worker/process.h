// What main drives: a loaded stage with its services, either the lead with the engine or a later stage.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/credentials.h"
#include "worker/config.h"
#include "worker/engine/stage_client.h"
#include "worker/metrics.h"
#include "worker/rpc/convert.h"
#include "worker/stage/pipeline_stage.h"

namespace grpc {
class Service;
}

namespace octet::worker {

class WorkerProcess {
 public:
  virtual ~WorkerProcess() = default;

  virtual std::vector<grpc::Service*> services() = 0;
  // The port that takes the previous stage's links, 0 on the lead.
  virtual int link_port() const = 0;
  // The services listen on `port`: the work begins.
  virtual void start(int port) = 0;

  // An epoch is in force and new work is taken.
  virtual bool ready() const = 0;
  // Work in flight has made a step within --step-timeout, or there is none.
  virtual bool progressing() const = 0;
  virtual std::optional<Time> last_step() const = 0;
  // Why the worker cannot go on, when it cannot.
  virtual std::optional<absl::Status> failure() const = 0;

  // Takes no new work. end: when the process ends, done or not.
  virtual void drain(Time end) = 0;
  // After drain(): nothing is left to do.
  virtual bool drained() const = 0;
  // Ends all streams, so that the server can shut down. The object must outlive the server.
  virtual void stop() = 0;
};

// metrics outlives the process. cluster: towards the other stages; null: no TLS.
absl::StatusOr<std::unique_ptr<WorkerProcess>> make_lead_process(const WorkerConfig& config,
                                                                 std::unique_ptr<PipelineStage> stage,
                                                                 WorkerMetrics& metrics,
                                                                 std::shared_ptr<TlsFiles> cluster = nullptr);
absl::StatusOr<std::unique_ptr<WorkerProcess>> make_stage_process(
    const WorkerConfig& config, std::unique_ptr<PipelineStage> stage, WorkerMetrics& metrics,
    std::shared_ptr<TlsFiles> cluster = nullptr);

// What this worker's stage tells the other stages.
StageDescription describe(const WorkerConfig& config, const StageShape& shape);
// What it takes from the wire.
WireLimits wire_limits(const WorkerConfig& config, const StageShape& shape);

}  // namespace octet::worker
