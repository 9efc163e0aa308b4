#include "worker/rpc/convert.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "octet/v1/generation.pb.h"
#include "octet/v1/pipeline.pb.h"
#include "octet/v1/stage.pb.h"

namespace octet::worker {
namespace {

using Uint32s = google::protobuf::RepeatedField<uint32_t>;

constexpr int kMaxLogitBiases = 1024;
constexpr int kMaxBadWords = 64;
constexpr int kMaxBadWordTokens = 1024;
constexpr int kMaxStopTokens = 1024;
constexpr uint32_t kMaxTopLogprobs = 20;
constexpr int kMaxNameBytes = 256;  // of an address, a digest, a backend
constexpr std::chrono::hours kMaxTimeout(24 * 365);

absl::Status too_many(const std::string& field, int64_t limit, int64_t given) {
  return invalid_field(field, absl::StrCat("at most ", limit, " entries, given ", given));
}

absl::Status above(const std::string& field, uint64_t limit, uint64_t given) {
  return invalid_field(field, absl::StrCat("at most ", limit, ", given ", given));
}

absl::Status check_tokens(const std::string& field, const Uint32s& tokens, int64_t max_tokens,
                          uint32_t vocab_size) {
  if (tokens.size() > max_tokens) return too_many(field, max_tokens, tokens.size());
  for (const uint32_t token : tokens) {
    if (token >= vocab_size) {
      return invalid_field(field,
                           absl::StrCat("token id ", token, " is outside the vocabulary of ", vocab_size));
    }
  }
  return absl::OkStatus();
}

// Both ends are allowed, except a lower end that `open_below` excludes. NaN is in no range.
struct FloatField {
  const char* name;
  float value;
  float min;
  float max;
  bool open_below = false;
};

absl::Status check_float(const FloatField& field) {
  const bool inside = field.open_below ? field.value > field.min : field.value >= field.min;
  if (inside && field.value <= field.max) return absl::OkStatus();
  return invalid_field(field.name,
                       absl::StrCat("must be ", field.open_below ? "above " : "at least ", field.min,
                                    " and at most ", field.max, ", given ", field.value));
}

absl::Status check_sampling(const v1::SequenceSampling& message, const WireLimits& limits) {
  for (const FloatField& field : {
           FloatField{"sampling.temperature", message.temperature(), 0, 100},
           FloatField{"sampling.top_p", message.top_p(), 0, 1, true},
           FloatField{"sampling.min_p", message.min_p(), 0, 1},
           FloatField{"sampling.repetition_penalty", message.repetition_penalty(), 0, 100, true},
           FloatField{"sampling.presence_penalty", message.presence_penalty(), -2, 2},
           FloatField{"sampling.frequency_penalty", message.frequency_penalty(), -2, 2},
       }) {
    if (absl::Status status = check_float(field); !status.ok()) return status;
  }
  if (message.logit_bias_size() > kMaxLogitBiases) {
    return too_many("sampling.logit_bias", kMaxLogitBiases, message.logit_bias_size());
  }
  for (const auto& [token, bias] : message.logit_bias()) {
    if (token >= limits.vocab_size) {
      return invalid_field(
          "sampling.logit_bias",
          absl::StrCat("token id ", token, " is outside the vocabulary of ", limits.vocab_size));
    }
    const absl::Status status = check_float({"sampling.logit_bias", bias, -100, 100});
    if (!status.ok()) return status;
  }
  if (message.bad_words_size() > kMaxBadWords) {
    return too_many("sampling.bad_words", kMaxBadWords, message.bad_words_size());
  }
  for (const v1::TokenIds& word : message.bad_words()) {
    if (word.ids().empty()) return invalid_field("sampling.bad_words", "an entry has no tokens");
    const absl::Status status =
        check_tokens("sampling.bad_words", word.ids(), kMaxBadWordTokens, limits.vocab_size);
    if (!status.ok()) return status;
  }
  if (message.logprobs() > kMaxTopLogprobs)
    return above("sampling.logprobs", kMaxTopLogprobs, message.logprobs());
  if (message.prompt_logprobs() > kMaxTopLogprobs) {
    return above("sampling.prompt_logprobs", kMaxTopLogprobs, message.prompt_logprobs());
  }
  return check_tokens("sampling.suppressed_before_min_tokens", message.suppressed_before_min_tokens(),
                      kMaxStopTokens, limits.vocab_size);
}

absl::StatusOr<RepetitionRule> from_proto(v1::RepetitionRule rule) {
  switch (rule) {
    case v1::REPETITION_RULE_UNSPECIFIED:
    case v1::REPETITION_RULE_DIVIDE_OR_MULTIPLY:
      return RepetitionRule::kDivideOrMultiply;
    case v1::REPETITION_RULE_DIVIDE:
      return RepetitionRule::kDivide;
    default:
      return invalid_field("sampling.repetition_rule",
                           absl::StrCat("unknown value ", static_cast<int>(rule)));
  }
}

std::vector<uint32_t> to_vector(const Uint32s& values) {
  return {values.begin(), values.end()};
}

void append(const std::vector<uint32_t>& values, Uint32s* to) {
  to->Add(values.begin(), values.end());
}

absl::StatusOr<SamplingParams> from_proto(const v1::SequenceSampling& message, const WireLimits& limits) {
  if (absl::Status status = check_sampling(message, limits); !status.ok()) return status;
  const absl::StatusOr<RepetitionRule> rule = from_proto(message.repetition_rule());
  if (!rule.ok()) return rule.status();
  SamplingParams sampling;
  sampling.temperature = message.temperature();
  sampling.top_k = message.top_k();
  sampling.top_p = message.top_p();
  sampling.min_p = message.min_p();
  sampling.repetition_penalty = message.repetition_penalty();
  sampling.repetition_rule = *rule;
  sampling.presence_penalty = message.presence_penalty();
  sampling.frequency_penalty = message.frequency_penalty();
  sampling.logit_bias.assign(message.logit_bias().begin(), message.logit_bias().end());
  std::sort(sampling.logit_bias.begin(), sampling.logit_bias.end());
  for (const v1::TokenIds& word : message.bad_words()) sampling.bad_words.push_back(to_vector(word.ids()));
  sampling.seed = message.seed();
  sampling.choice_index = message.choice_index();
  sampling.suppressed_before_min_tokens = to_vector(message.suppressed_before_min_tokens());
  sampling.min_tokens = message.min_tokens();
  if (message.has_logprobs()) sampling.logprobs = message.logprobs();
  if (message.has_prompt_logprobs()) sampling.prompt_logprobs = message.prompt_logprobs();
  return sampling;
}

void to_proto(const SamplingParams& sampling, v1::SequenceSampling* message) {
  message->set_temperature(sampling.temperature);
  message->set_top_k(sampling.top_k);
  message->set_top_p(sampling.top_p);
  message->set_min_p(sampling.min_p);
  message->set_repetition_penalty(sampling.repetition_penalty);
  message->set_repetition_rule(sampling.repetition_rule == RepetitionRule::kDivide
                                   ? v1::REPETITION_RULE_DIVIDE
                                   : v1::REPETITION_RULE_DIVIDE_OR_MULTIPLY);
  message->set_presence_penalty(sampling.presence_penalty);
  message->set_frequency_penalty(sampling.frequency_penalty);
  for (const auto& [token, bias] : sampling.logit_bias) (*message->mutable_logit_bias())[token] = bias;
  for (const auto& word : sampling.bad_words) append(word, message->add_bad_words()->mutable_ids());
  message->set_seed(sampling.seed);
  message->set_choice_index(sampling.choice_index);
  append(sampling.suppressed_before_min_tokens, message->mutable_suppressed_before_min_tokens());
  message->set_min_tokens(sampling.min_tokens);
  if (sampling.logprobs) message->set_logprobs(*sampling.logprobs);
  if (sampling.prompt_logprobs) message->set_prompt_logprobs(*sampling.prompt_logprobs);
}

void to_proto(const ScoredToken& token, v1::ScoredToken* message) {
  message->set_token_id(token.token);
  message->set_logprob(token.logprob);
  append(token.top_tokens, message->mutable_top_token_ids());
  message->mutable_top_logprobs()->Add(token.top_logprobs.begin(), token.top_logprobs.end());
}

absl::StatusOr<ScoredToken> from_proto(const v1::ScoredToken& message, const WireLimits& limits) {
  if (message.token_id() >= limits.vocab_size) {
    return invalid_field("token_id", absl::StrCat("token id ", message.token_id(),
                                                  " is outside the vocabulary of ", limits.vocab_size));
  }
  if (message.top_token_ids_size() != message.top_logprobs_size()) {
    return invalid_field("top_logprobs", absl::StrCat(message.top_logprobs_size(), " values for ",
                                                      message.top_token_ids_size(), " tokens"));
  }
  const absl::Status status =
      check_tokens("top_token_ids", message.top_token_ids(), kMaxTopLogprobs, limits.vocab_size);
  if (!status.ok()) return status;
  ScoredToken token;
  token.token = message.token_id();
  token.logprob = message.logprob();
  token.top_tokens = to_vector(message.top_token_ids());
  token.top_logprobs.assign(message.top_logprobs().begin(), message.top_logprobs().end());
  return token;
}

absl::StatusOr<AdmittedSequence> from_proto(const v1::AdmittedSequence& message, const WireLimits& limits) {
  absl::Status status =
      check_tokens("admitted.tokens", message.tokens(), limits.max_model_len, limits.vocab_size);
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
  if (message.new_blocks_size() > static_cast<int64_t>(limits.num_blocks)) {
    return too_many("chunks.new_blocks", limits.num_blocks, message.new_blocks_size());
  }
  for (const uint32_t block : message.new_blocks()) {
    if (block >= limits.num_blocks) {
      return invalid_field("chunks.new_blocks",
                           absl::StrCat("block ", block, " is outside the KV cache of ", limits.num_blocks));
    }
  }
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
  }
  return v1::PIPELINE_STATE_UNSPECIFIED;
}

// int fields of a description; more than this is no pipeline.
constexpr uint32_t kMaxStages = 1024;

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
  absl::StatusOr<SamplingParams> sampling = from_proto(message.sampling(), limits);
  if (!sampling.ok()) return sampling.status();
  NewSequence sequence;
  sequence.prompt = to_vector(message.prompt_tokens());
  sequence.generated = to_vector(message.generated_tokens());
  sequence.sampling = *std::move(sampling);
  sequence.max_tokens = message.max_tokens();
  sequence.stop_token_ids = to_vector(message.stop_token_ids());
  sequence.priority = message.priority();
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
  if (news.finish) message->set_finish_reason(to_proto(*news.finish));
  if (!news.failure.ok()) {
    message->set_error_code(static_cast<int32_t>(news.failure.code()));
    message->set_error_message(std::string(news.failure.message()));
  }
}

void to_proto(const BatchPlan& plan, v1::BatchPlan* message) {
  message->set_step(plan.step);
  for (const AdmittedSequence& sequence : plan.admitted) {
    v1::AdmittedSequence* admitted = message->add_admitted();
    admitted->set_sequence_id(sequence.id);
    append(sequence.tokens, admitted->mutable_tokens());
    admitted->set_num_prompt_tokens(sequence.num_prompt_tokens);
    to_proto(sequence.sampling, admitted->mutable_sampling());
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
    if (value > kMaxStages) return above(absl::StrCat("description.", name), kMaxStages, value);
  }
  const std::pair<const char*, const std::string&> names[] = {
      {"description.model_digest", from.model_digest()},
      {"description.backend", from.backend()},
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
  to.wire_version = from.wire_version();
  to.incarnation = from.incarnation();
  to.last_epoch = from.last_epoch();
  registration.stage_address = message.stage_address();
  registration.link_address = message.link_address();
  return registration;
}

void to_proto(const EngineStatus& status, const ModelConfig& model, const std::string& backend,
              uint32_t block_size, v1::WatchResponse* message) {
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
}

}  // namespace octet::worker
