// Between a router and the lead.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/wire_version.h"
#include "octet/v1/generation.pb.h"
#include "octet/v1/pipeline.pb.h"
#include "worker/rpc/convert.h"
#include "worker/rpc/convert_fields.h"

namespace octet::worker {
namespace {

constexpr std::chrono::hours kMaxTimeout(24 * 365);
constexpr size_t kMaxTraceparentBytes = 55;
constexpr size_t kMaxTracestateBytes = 512;

v1::FinishReason to_proto(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
    case FinishReason::kDeadline:
      return v1::FINISH_REASON_DEADLINE;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

v1::PipelineState to_proto(PipelineState state) {
  switch (state) {
    case PipelineState::kForming:
      return v1::PIPELINE_STATE_FORMING;
    case PipelineState::kReady:
      return v1::PIPELINE_STATE_READY;
    case PipelineState::kDraining:
      return v1::PIPELINE_STATE_DRAINING;
    case PipelineState::kStalled:
      return v1::PIPELINE_STATE_STALLED;
  }
  return v1::PIPELINE_STATE_UNSPECIFIED;
}

}  // namespace

absl::StatusOr<NewSequence> from_proto(const v1::StartSequence& message, const WireLimits& limits, Time now) {
  if (message.prompt_tokens().empty())
    return invalid_field("prompt_tokens", "at least 1 token is needed, given 0");
  absl::Status status =
      check_tokens("prompt_tokens", message.prompt_tokens(), limits.max_model_len, limits.vocab_size);
  if (!status.ok()) return status;
  status =
      check_tokens("generated_tokens", message.generated_tokens(), limits.max_model_len, limits.vocab_size);
  if (!status.ok()) return status;
  status = check_tokens("stop_token_ids", message.stop_token_ids(), kMaxStopTokens, limits.vocab_size);
  if (!status.ok()) return status;
  if (message.traceparent().size() > kMaxTraceparentBytes)
    return above("traceparent", kMaxTraceparentBytes, message.traceparent().size());
  if (message.tracestate().size() > kMaxTracestateBytes)
    return above("tracestate", kMaxTracestateBytes, message.tracestate().size());
  absl::StatusOr<SamplingParams> sampling = from_proto(message.sampling(), limits);
  if (!sampling.ok()) return sampling.status();
  NewSequence sequence;
  sequence.prompt = to_vector(message.prompt_tokens());
  sequence.generated = to_vector(message.generated_tokens());
  sequence.sampling = *std::move(sampling);
  sequence.max_tokens = message.max_tokens();
  sequence.stop_token_ids = to_vector(message.stop_token_ids());
  sequence.priority = message.priority();
  sequence.cache_salt = message.cache_salt();
  if (message.timeout_ms() > 0) {
    const auto ms = std::min<uint64_t>(message.timeout_ms(), std::chrono::milliseconds(kMaxTimeout).count());
    sequence.deadline = now + std::chrono::milliseconds(ms);
  }
  return sequence;
}

void to_proto(const SequenceNews& news, v1::SequenceOutput* message) {
  message->set_sequence_id(news.router_sequence_id);
  for (const ScoredToken& token : news.tokens) to_proto(token, message->add_tokens());
  for (const ScoredToken& token : news.prompt_logprobs) to_proto(token, message->add_prompt_logprobs());
  message->set_cached_tokens(news.num_cached_tokens);
  if (news.finish) message->set_finish_reason(to_proto(*news.finish));
  if (!news.failure.ok()) {
    message->set_error_code(static_cast<int32_t>(news.failure.code()));
    message->set_error_message(std::string(news.failure.message()));
  }
}

void to_proto(const PrefixDigest::Changes& changes, v1::PrefixDigest* message) {
  message->set_base_version(changes.base_version);
  message->set_version(changes.version);
  message->mutable_added()->Add(changes.added.begin(), changes.added.end());
  message->mutable_removed()->Add(changes.removed.begin(), changes.removed.end());
}

void to_proto(const EngineStatus& status, const ModelConfig& model, const std::string& backend,
              uint32_t block_size, Time now, v1::WatchResponse* message) {
  message->set_state(to_proto(status.state));
  message->set_epoch(status.epoch);
  v1::Model* to = message->mutable_model();
  to->set_name(model.name);
  to->set_max_model_len_tokens(static_cast<uint32_t>(model.max_model_len));
  to->set_vocab_size(static_cast<uint32_t>(model.vocab_size));
  to->set_backend(backend);
  message->set_eos_token_id(static_cast<uint32_t>(model.eos_token_id));
  message->set_running_sequences(status.scheduler.running);
  message->set_waiting_sequences(status.scheduler.waiting);
  message->set_outstanding_prompt_tokens(status.scheduler.outstanding_prompt_tokens);
  message->set_total_blocks(status.scheduler.total_blocks);
  message->set_free_blocks(status.scheduler.free_blocks);
  message->set_block_size_tokens(block_size);
  if (status.drain_end != kNoDeadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(status.drain_end - now);
    message->set_drain_left_ms(static_cast<uint64_t>(std::max<int64_t>(left.count(), 1)));
  }
  message->set_wire_version(kPipelineWireVersion);
}

}  // namespace octet::worker
