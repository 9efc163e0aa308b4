// A later stage's process: the real executor on a HashStage, and what worker/stage_process and worker/rpc do
// around it, on the virtual network.
#pragma once

#include <memory>
#include <string>

#include "tests/simulation/hash_stage.h"
#include "tests/simulation/network.h"
#include "worker/engine/stage_executor.h"
#include "worker/link/link.h"
#include "worker/rpc/convert.h"

namespace octet::simulation {

// Made and destroyed on a fiber of its process.
class StageHost {
 public:
  StageHost(const PipelineShape& pipeline, int stage, const std::string& lead_address);
  ~StageHost();

  HashStage& stage() { return stage_; }
  bool in_service() const { return streaming_epoch_ != 0 && streaming_epoch_ == executor_.last_epoch(); }

 private:
  struct ExecuteStream;
  void accept(const std::string& service, std::shared_ptr<End> end);
  void join(const google::protobuf::Message& message, const std::shared_ptr<End>& end);
  void execute(const google::protobuf::Message& message, const std::shared_ptr<ExecuteStream>& stream);
  void close(const std::shared_ptr<ExecuteStream>& stream);
  void repeat_late(uint64_t epoch);
  worker::Registration registration() const;
  void register_regularly();
  void register_once();

  const PipelineShape pipeline_;
  const int stage_number_;
  const std::string lead_address_;
  const worker::WireLimits limits_;
  HashStage stage_;
  const std::unique_ptr<worker::TcpLinkListener> listener_;
  worker::StageExecutor executor_;
  uint64_t streaming_epoch_ = 0;                        // of the newest epoch's open stream; 0: none
  std::shared_ptr<const worker::BatchPlan> last_plan_;  // that came
  std::shared_ptr<End> registering_;
  uint64_t registration_number_ = 0;
};

worker::StageDescription describe(const PipelineShape& pipeline, int stage);
worker::WireLimits wire_limits(const PipelineShape& pipeline);

// A call's answer where the wire has a status and no message.
MessagePtr status_message(const absl::Status& status);
absl::Status status_of(const google::protobuf::Message& message);

}  // namespace octet::simulation
