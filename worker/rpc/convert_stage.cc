// Between the stages of a pipeline.
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "octet/v1/stage.pb.h"
#include "worker/rpc/convert.h"
#include "worker/rpc/convert_fields.h"

namespace octet::worker {
namespace {

constexpr size_t kMaxRefusalBytes = 1024;
constexpr size_t kMaxNameBytes = 256;    // of an address, a digest, a backend
constexpr uint32_t kMaxCount = 1 << 20;  // of stages, ranks, layers: more is no pipeline

absl::Status check_blocks(const std::string& field, const Uint32s& blocks, const WireLimits& limits) {
  if (blocks.size() > static_cast<int64_t>(limits.num_blocks)) {
    return too_many(field, limits.num_blocks, blocks.size());
  }
  for (const uint32_t block : blocks) {
    if (block >= limits.num_blocks) {
      return invalid_field(field,
                           absl::StrCat("block ", block, " is outside the KV cache of ", limits.num_blocks));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<AdmittedSequence> from_proto(const v1::AdmittedSequence& message, const WireLimits& limits) {
  absl::Status status =
      check_tokens("admitted.tokens", message.tokens(), limits.max_model_len, limits.vocab_size);
  if (!status.ok()) return status;
  status = check_blocks("admitted.cached_blocks", message.cached_blocks(), limits);
  if (!status.ok()) return status;
  if (message.num_prompt_tokens() == 0 ||
      message.num_prompt_tokens() > static_cast<uint32_t>(message.tokens_size())) {
    return invalid_field("admitted.num_prompt_tokens", absl::StrCat("must be 1 to ", message.tokens_size(),
                                                                    ", given ", message.num_prompt_tokens()));
  }
  absl::StatusOr<SamplingParams> sampling = from_proto(message.sampling(), limits);
  if (!sampling.ok()) return sampling.status();
  AdmittedSequence sequence;
  sequence.id = message.sequence_id();
  sequence.tokens = to_vector(message.tokens());
  sequence.num_prompt_tokens = message.num_prompt_tokens();
  sequence.sampling = *std::move(sampling);
  sequence.cached_blocks = to_vector(message.cached_blocks());
  return sequence;
}

absl::StatusOr<SequenceChunk> from_proto(const v1::SequenceChunk& message, const WireLimits& limits) {
  absl::Status status =
      check_tokens("chunks.tokens", message.tokens(), limits.max_batch_tokens, limits.vocab_size);
  if (!status.ok()) return status;
  const auto num_tokens = static_cast<uint32_t>(message.tokens_size());
  if (num_tokens == 0) return invalid_field("chunks.tokens", "a chunk has no tokens");
  if (uint64_t{message.start_position()} + num_tokens > limits.max_model_len) {
    return invalid_field("chunks.start_position",
                         absl::StrCat(message.start_position(), " and ", num_tokens,
                                      " tokens pass the context of ", limits.max_model_len));
  }
  status = check_blocks("chunks.new_blocks", message.new_blocks(), limits);
  if (!status.ok()) return status;
  if (message.first_prompt_logprob_row() > message.end_prompt_logprob_row() ||
      message.end_prompt_logprob_row() > num_tokens) {
    return invalid_field("chunks.end_prompt_logprob_row",
                         absl::StrCat("rows ", message.first_prompt_logprob_row(), " to ",
                                      message.end_prompt_logprob_row(), " of a chunk of ", num_tokens));
  }
  SequenceChunk chunk;
  chunk.id = message.sequence_id();
  chunk.start_position = message.start_position();
  chunk.tokens = to_vector(message.tokens());
  chunk.new_blocks = to_vector(message.new_blocks());
  chunk.samples = message.samples();
  chunk.first_prompt_logprob_row = message.first_prompt_logprob_row();
  chunk.end_prompt_logprob_row = message.end_prompt_logprob_row();
  return chunk;
}

absl::StatusOr<SequenceSample> from_proto(const v1::SequenceSample& message, const WireLimits& limits) {
  SequenceSample sample;
  sample.id = message.sequence_id();
  sample.not_finite = message.not_finite();
  sample.refusal = message.refusal().substr(0, kMaxRefusalBytes);
  if (message.has_token()) {
    absl::StatusOr<ScoredToken> token = from_proto(message.token(), limits);
    if (!token.ok()) return token.status();
    sample.token = *std::move(token);
  }
  for (const v1::ScoredToken& scored : message.prompt_logprobs()) {
    absl::StatusOr<ScoredToken> token = from_proto(scored, limits);
    if (!token.ok()) return token.status();
    sample.prompt_logprobs.push_back(*std::move(token));
  }
  return sample;
}

}  // namespace

void to_proto(const BatchPlan& plan, v1::BatchPlan* message) {
  message->set_step(plan.step);
  for (const AdmittedSequence& sequence : plan.admitted) {
    v1::AdmittedSequence* admitted = message->add_admitted();
    admitted->set_sequence_id(sequence.id);
    append(sequence.tokens, admitted->mutable_tokens());
    admitted->set_num_prompt_tokens(sequence.num_prompt_tokens);
    to_proto(sequence.sampling, admitted->mutable_sampling());
    append(sequence.cached_blocks, admitted->mutable_cached_blocks());
  }
  for (const SequenceChunk& chunk : plan.chunks) {
    v1::SequenceChunk* to = message->add_chunks();
    to->set_sequence_id(chunk.id);
    to->set_start_position(chunk.start_position);
    append(chunk.tokens, to->mutable_tokens());
    append(chunk.new_blocks, to->mutable_new_blocks());
    to->set_samples(chunk.samples);
    to->set_first_prompt_logprob_row(chunk.first_prompt_logprob_row);
    to->set_end_prompt_logprob_row(chunk.end_prompt_logprob_row);
  }
  message->mutable_released_sequence_ids()->Add(plan.released.begin(), plan.released.end());
}

absl::StatusOr<BatchPlan> from_proto(const v1::BatchPlan& message, const WireLimits& limits) {
  if (message.admitted_size() > message.chunks_size()) {
    return too_many("admitted", message.chunks_size(), message.admitted_size());
  }
  BatchPlan plan;
  plan.step = message.step();
  for (const v1::AdmittedSequence& admitted : message.admitted()) {
    absl::StatusOr<AdmittedSequence> sequence = from_proto(admitted, limits);
    if (!sequence.ok()) return sequence.status();
    plan.admitted.push_back(*std::move(sequence));
  }
  uint64_t num_rows = 0;
  for (const v1::SequenceChunk& from : message.chunks()) {
    absl::StatusOr<SequenceChunk> chunk = from_proto(from, limits);
    if (!chunk.ok()) return chunk.status();
    num_rows += chunk->tokens.size();
    if (num_rows > limits.max_batch_tokens) return above("chunks", limits.max_batch_tokens, num_rows);
    plan.chunks.push_back(*std::move(chunk));
  }
  plan.released.assign(message.released_sequence_ids().begin(), message.released_sequence_ids().end());
  return plan;
}

void to_proto(const StepResult& result, v1::StepResult* message) {
  message->set_step(result.step);
  for (const SequenceSample& sample : result.samples) {
    v1::SequenceSample* to = message->add_samples();
    to->set_sequence_id(sample.id);
    if (sample.token) to_proto(*sample.token, to->mutable_token());
    for (const ScoredToken& token : sample.prompt_logprobs) to_proto(token, to->add_prompt_logprobs());
    to->set_not_finite(sample.not_finite);
    to->set_refusal(sample.refusal);
  }
  v1::StepTiming* timing = message->mutable_timing();
  timing->set_compute_ns(result.timing.compute_ns);
  timing->set_receive_wait_ns(result.timing.receive_wait_ns);
  timing->set_send_ns(result.timing.send_ns);
  timing->set_idle_ns(result.timing.idle_ns);
  timing->set_resident_ns(result.timing.resident_ns);
  timing->set_sent_bytes(result.timing.sent_bytes);
  message->set_error(result.error);
}

absl::StatusOr<StepResult> from_proto(const v1::StepResult& message, const WireLimits& limits) {
  StepResult result;
  result.step = message.step();
  for (const v1::SequenceSample& from : message.samples()) {
    absl::StatusOr<SequenceSample> sample = from_proto(from, limits);
    if (!sample.ok()) return sample.status();
    result.samples.push_back(*std::move(sample));
  }
  const v1::StepTiming& timing = message.timing();
  result.timing = {timing.compute_ns(), timing.receive_wait_ns(), timing.send_ns(),
                   timing.idle_ns(),    timing.resident_ns(),     timing.sent_bytes()};
  result.error = message.error();
  return result;
}

void to_proto(const StageDescription& description, v1::StageDescription* message) {
  message->set_stage(static_cast<uint32_t>(description.stage));
  message->set_num_stages(static_cast<uint32_t>(description.num_stages));
  message->set_tensor_parallel_size(static_cast<uint32_t>(description.num_ranks));
  message->set_first_layer(static_cast<uint32_t>(description.layers.first));
  message->set_end_layer(static_cast<uint32_t>(description.layers.end));
  message->set_num_blocks(description.num_blocks);
  message->set_block_size_tokens(description.block_size);
  message->set_model_digest(description.model_digest);
  message->set_backend(description.backend);
  message->set_arithmetic(description.arithmetic);
  message->set_wire_version(description.wire_version);
  message->set_incarnation(description.incarnation);
  message->set_max_batch_tokens(description.max_batch_tokens);
  message->set_last_epoch(description.last_epoch);
}

void to_proto(const Registration& registration, v1::RegisterRequest* message) {
  to_proto(registration.description, message->mutable_description());
  message->set_stage_address(registration.stage_address);
  message->set_link_address(registration.link_address);
}

absl::StatusOr<Registration> from_proto(const v1::RegisterRequest& message) {
  const v1::StageDescription& from = message.description();
  const std::pair<const char*, uint32_t> counts[] = {{"stage", from.stage()},
                                                     {"num_stages", from.num_stages()},
                                                     {"tensor_parallel_size", from.tensor_parallel_size()},
                                                     {"first_layer", from.first_layer()},
                                                     {"end_layer", from.end_layer()}};
  for (const auto& [name, value] : counts) {
    if (value > kMaxCount) return above(absl::StrCat("description.", name), kMaxCount, value);
  }
  const std::pair<const char*, const std::string&> names[] = {
      {"description.model_digest", from.model_digest()},
      {"description.backend", from.backend()},
      {"description.arithmetic", from.arithmetic()},
      {"stage_address", message.stage_address()},
      {"link_address", message.link_address()}};
  for (const auto& [name, value] : names) {
    if (value.size() > kMaxNameBytes) {
      return invalid_field(name, absl::StrCat("at most ", kMaxNameBytes, " bytes, given ", value.size()));
    }
  }
  if (message.stage_address().empty()) return invalid_field("stage_address", "is empty");
  if (message.link_address().empty()) return invalid_field("link_address", "is empty");
  Registration registration;
  StageDescription& to = registration.description;
  to.stage = static_cast<int>(from.stage());
  to.num_stages = static_cast<int>(from.num_stages());
  to.num_ranks = static_cast<int>(from.tensor_parallel_size());
  to.layers = {static_cast<int32_t>(from.first_layer()), static_cast<int32_t>(from.end_layer())};
  to.num_blocks = from.num_blocks();
  to.block_size = from.block_size_tokens();
  to.max_batch_tokens = from.max_batch_tokens();
  to.model_digest = from.model_digest();
  to.backend = from.backend();
  to.arithmetic = from.arithmetic();
  to.wire_version = from.wire_version();
  to.incarnation = from.incarnation();
  to.last_epoch = from.last_epoch();
  registration.stage_address = message.stage_address();
  registration.link_address = message.link_address();
  return registration;
}

}  // namespace octet::worker
