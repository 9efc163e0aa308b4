// How the engine speaks with the stages of its pipeline, its own among them. Nothing here blocks: commands go
// out, and what the stages say comes back as events.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "worker/batch/batch_plan.h"
#include "worker/batch/step_result.h"
#include "worker/link/link_key.h"
#include "worker/model/model_config.h"

namespace octet::worker {

// Version of proto/octet/v1/stage.proto as this program speaks it.
inline constexpr uint32_t kWireVersion = 3;

// What a stage holds, as it registers with the lead.
struct StageDescription {
  int stage = 0;
  int num_stages = 1;
  int num_ranks = 1;
  LayerRange layers;
  uint32_t num_blocks = 0;  // of the KV cache, that fit in its memory
  uint32_t block_size = 0;  // tokens
  uint32_t max_batch_tokens = 0;
  std::string model_digest;
  std::string backend;
  std::string arithmetic;  // the flags that decide what is rounded to what
  uint32_t wire_version = kWireVersion;
  uint64_t incarnation = 0;  // one process's life
  uint64_t last_epoch = 0;   // the largest it has joined, 0 for none
};

struct Registration {
  StageDescription description;
  std::string stage_address;  // of its Stage service, "host:port"
  std::string link_address;   // of its link listener, "host:port"
};

// What makes a stage part of an epoch.
struct JoinCommand {
  uint64_t epoch = 0;
  std::string next_link_address;  // empty on the last stage
  uint32_t num_blocks = 0;        // of the KV cache, the same on every stage
  Duration timeout{};             // in which all links must stand
  LinkKey link_key{};             // of the epoch, the same on every stage
};

// What stages tell the engine. Called from any thread; never blocks. Events of an epoch that has ended are
// dropped.
class StageEvents {
 public:
  virtual ~StageEvents() = default;
  // The answer to join().
  virtual void on_joined(int stage, uint64_t epoch, const absl::Status& status) = 0;
  // The answer to one plan, in order.
  virtual void on_result(int stage, uint64_t epoch, StepResult result) = 0;
  // The stage cannot be reached any more.
  virtual void on_lost(int stage, uint64_t epoch, const absl::Status& status) = 0;
};

// One stage in one epoch. Called from the engine's thread; the destructor ends the epoch at the stage.
class StageClient {
 public:
  virtual ~StageClient() = default;
  // Called once, first.
  virtual void join(const JoinCommand& command) = 0;
  // Plans come in step order, after a successful join.
  virtual void execute(std::shared_ptr<const BatchPlan> plan) = 0;
};

// Makes the client of one stage. The registration of stage 0, the lead's own, has no addresses.
using StageClientFactory = std::function<std::unique_ptr<StageClient>(const Registration& registration,
                                                                      std::shared_ptr<StageEvents> events)>;

}  // namespace octet::worker
