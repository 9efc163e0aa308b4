// Between the wire's messages and the worker's types. What comes from another process is checked here, field
// by field: a bad message is a Status that names the field, the limit and the value, and no more is allocated
// than it holds.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "worker/batch/batch_plan.h"
#include "worker/batch/step_result.h"
#include "worker/engine/engine.h"
#include "worker/engine/stage_client.h"
#include "worker/engine/subscriber.h"
#include "worker/model/model_config.h"

namespace octet::v1 {
class BatchPlan;
class PrefixDigest;
class RegisterRequest;
class SequenceOutput;
class StageDescription;
class StartSequence;
class StepResult;
class WatchResponse;
}  // namespace octet::v1

namespace octet::worker {

// What a sequence or a plan may ask for.
struct WireLimits {
  uint32_t vocab_size = 0;
  uint32_t max_model_len = 0;     // tokens of prompt and output
  uint32_t max_batch_tokens = 0;  // rows of a plan
  uint32_t num_blocks = 0;        // of the KV cache
  uint32_t block_size = 1;        // tokens
};

// Errors: INVALID_ARGUMENT. The sequence's id stays 0; the timeout counts from `now`.
absl::StatusOr<NewSequence> from_proto(const v1::StartSequence& message, const WireLimits& limits, Time now);
void to_proto(const SequenceNews& news, v1::SequenceOutput* message);

void to_proto(const BatchPlan& plan, v1::BatchPlan* message);
absl::StatusOr<BatchPlan> from_proto(const v1::BatchPlan& message, const WireLimits& limits);

void to_proto(const StepResult& result, v1::StepResult* message);
absl::StatusOr<StepResult> from_proto(const v1::StepResult& message, const WireLimits& limits);

void to_proto(const StageDescription& description, v1::StageDescription* message);
void to_proto(const Registration& registration, v1::RegisterRequest* message);
absl::StatusOr<Registration> from_proto(const v1::RegisterRequest& message);

void to_proto(const PrefixDigest::Changes& changes, v1::PrefixDigest* message);
// Everything but the sequence number and the prefix digest.
void to_proto(const EngineStatus& status, const ModelConfig& model, const std::string& backend,
              uint32_t block_size, Time now, v1::WatchResponse* message);

}  // namespace octet::worker
