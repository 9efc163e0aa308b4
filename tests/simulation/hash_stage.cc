#include "tests/simulation/hash_stage.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "tests/simulation/checks.h"

namespace octet::simulation {
namespace {

using worker::AdmittedSequence;
using worker::BatchPlan;
using worker::SequenceChunk;
using worker::TokenId;

uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0xBF58476D1CE4E5B9;
  return hash ^ (hash >> 29);
}

}  // namespace

uint64_t digest_of(const BatchPlan& plan) {
  uint64_t hash = mix(0x9E3779B97F4A7C15, plan.step);
  for (const AdmittedSequence& sequence : plan.admitted) {
    hash = mix(hash, sequence.id);
    for (const TokenId token : sequence.tokens) hash = mix(hash, token);
  }
  for (const SequenceChunk& chunk : plan.chunks) {
    hash = mix(mix(hash, chunk.id), chunk.start_position);
    for (const TokenId token : chunk.tokens) hash = mix(hash, token);
    for (const worker::BlockId block : chunk.new_blocks) hash = mix(hash, block);
  }
  return hash;
}

void HashStage::Sequence::append(TokenId token) {
  contents.push_back(mix(contents.empty() ? 1 : contents.back(), token));
  tokens.push_back(token);
}

HashStage::HashStage(const PipelineShape& pipeline, int stage)
    : pipeline_(pipeline),
      stage_(stage),
      model_{{static_cast<uint32_t>(pipeline.model.vocab_size),
              static_cast<TokenId>(pipeline.model.eos_token_id)}},
      states_(nullptr) {
  shape_.model = pipeline.model;
  shape_.layers = {stage * 2, stage * 2 + 2};
  shape_.num_blocks = pipeline.num_blocks;
}

template <typename... Parts>
void HashStage::wrong(const Parts&... parts) const {
  checks().violation(
      absl::StrCat("pipeline ", pipeline_.pipeline, " stage ", stage_, " epoch ", epoch_, ": ", parts...));
}

absl::Status HashStage::start_epoch(uint64_t epoch, worker::StageLinks links, uint32_t num_blocks) {
  close(absl::CancelledError(absl::StrCat("epoch ", epoch, " starts")));
  checks().trace(absl::StrCat("stage ", stage_, " has the links of epoch ", epoch));
  if (epoch <= epoch_) wrong("epoch ", epoch, " starts after it");
  epoch_ = epoch;
  worker::PlanLimits limits;
  limits.vocab_size = model_.vocabulary.size;
  limits.max_model_len = static_cast<uint32_t>(pipeline_.model.max_model_len);
  limits.block_size = pipeline_.block_size;
  limits.num_blocks = num_blocks;
  limits.max_batch_tokens = pipeline_.max_batch_tokens;
  states_.reset(limits);
  sequences_.clear();
  cache_.assign(size_t{num_blocks} * pipeline_.block_size, 0);
  has_stepped_ = false;
  const std::lock_guard lock(mutex_);
  links_ = std::move(links);
  failure_ = absl::OkStatus();
  return absl::OkStatus();
}

worker::StepResult HashStage::execute(const BatchPlan& plan) {
  worker::StepResult result;
  result.step = plan.step;
  if (absl::Status status = run(plan, result); !status.ok()) {
    close(status);
    result.samples.clear();
    result.error = absl::StrCat("stage ", stage_, ": ", std::string(status.message()));
  }
  return result;
}

absl::Status HashStage::run(const BatchPlan& plan, worker::StepResult& result) {
  if (absl::Status status = failure(); !status.ok()) return status;
  const uint64_t digest = digest_of(plan);
  checks().plan_executed(pipeline_.pipeline, stage_, epoch_, plan.step, digest);
  if (has_stepped_ ? plan.step != last_step_ + 1 : plan.step > 1)
    wrong("step ", plan.step, " after ", last_step_);
  has_stepped_ = true;
  last_step_ = plan.step;
  if (absl::Status status = make_batch_input(plan, states_, input_); !status.ok()) {
    wrong("a plan contradicts those before: ", std::string(status.message()));
    return status;
  }
  if (absl::Status status = receive(plan.step, digest); !status.ok()) return status;
  if (std::exchange(fails_, false)) return absl::InternalError("the device has failed");
  const Duration time = pipeline_.step_time + pipeline_.token_time * input_.model.num_rows();
  wait(now() < slow_until_ ? std::chrono::duration_cast<Duration>(time * slowness_) : time);
  if (absl::Status status = failure(); !status.ok()) return status;
  for (const worker::SequenceId id : plan.released) sequences_.erase(id);
  for (const AdmittedSequence& sequence : plan.admitted) admit(sequence);
  for (const SequenceChunk& chunk : plan.chunks) take(chunk);
  if (is_last()) sample(plan, result.samples);
  if (absl::Status status = send(plan.step, digest); !status.ok()) return status;
  return failure();
}

// What goes from stage to stage in place of activations: of which plan they are.
absl::Status HashStage::receive(uint64_t step, uint64_t plan_digest) {
  for (const auto& link : links_.from_previous) {
    std::array<std::byte, sizeof plan_digest> bytes{};
    if (absl::Status status = link->receive(step, bytes, now() + pipeline_.step_timeout); !status.ok())
      return status;
    if (std::bit_cast<uint64_t>(bytes) != plan_digest)
      wrong("step ", step, " has the activations of another plan");
  }
  return absl::OkStatus();
}

absl::Status HashStage::send(uint64_t step, uint64_t plan_digest) {
  const auto bytes = std::bit_cast<std::array<std::byte, sizeof plan_digest>>(plan_digest);
  for (const auto& link : links_.to_next) {
    if (absl::Status status = link->send(step, bytes, now() + pipeline_.step_timeout); !status.ok())
      return status;
  }
  return absl::OkStatus();
}

void HashStage::wait(Duration duration) {
  std::unique_lock lock(mutex_);
  closed_.wait_until(lock, now() + duration, [this] { return !failure_.ok(); });
}

absl::Status HashStage::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void HashStage::close(const absl::Status& reason) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_.ok()) failure_ = reason;
    for (const auto& link : links_.from_previous) link->close();
    for (const auto& link : links_.to_next) link->close();
  }
  closed_.notify_all();
}

void HashStage::abort_epoch() {
  close(absl::CancelledError("the epoch was aborted"));
}

bool HashStage::may_end(const Sequence& sequence, uint32_t position) const {
  const std::vector<TokenId>& suppressed = sequence.sampling.suppressed_before_min_tokens;
  return position - sequence.num_prompt_tokens >= sequence.sampling.min_tokens ||
         std::find(suppressed.begin(), suppressed.end(), model_.vocabulary.eos) == suppressed.end();
}

void HashStage::admit(const AdmittedSequence& admitted) {
  Sequence& sequence = sequences_[admitted.id];
  sequence = {};
  sequence.num_prompt_tokens = admitted.num_prompt_tokens;
  sequence.sampling = admitted.sampling;
  sequence.name = HashModel::name(std::span(admitted.tokens).first(admitted.num_prompt_tokens),
                                  admitted.sampling.seed, admitted.sampling.choice_index);
  sequence.blocks = admitted.cached_blocks;
  for (const TokenId token : admitted.tokens) {
    const auto position = static_cast<uint32_t>(sequence.tokens.size());
    if (position >= admitted.num_prompt_tokens &&
        token != model_.sample(sequence.name, position, may_end(sequence, position), std::nullopt).token) {
      wrong("sequence ", admitted.id, " comes back with another token at position ", position);
    }
    sequence.append(token);
  }
}

void HashStage::take(const SequenceChunk& chunk) {
  Sequence& sequence = sequences_.at(chunk.id);
  sequence.blocks.insert(sequence.blocks.end(), chunk.new_blocks.begin(), chunk.new_blocks.end());
  for (size_t i = 0; i < chunk.tokens.size(); ++i) {
    const size_t position = chunk.start_position + i;
    if (position == sequence.tokens.size()) sequence.append(chunk.tokens[i]);
    if (position > sequence.tokens.size() || sequence.tokens[position] != chunk.tokens[i]) {
      return wrong("step ", last_step_, " has another token at position ", position, " of sequence ",
                   chunk.id);
    }
    if (position >= sequence.num_prompt_tokens &&
        chunk.tokens[i] != model_
                               .sample(sequence.name, static_cast<uint32_t>(position),
                                       may_end(sequence, static_cast<uint32_t>(position)), std::nullopt)
                               .token) {
      return wrong("sequence ", chunk.id, " has a token that was not sampled at position ", position);
    }
  }
  check_cache(chunk, sequence);
}

void HashStage::check_cache(const SequenceChunk& chunk, const Sequence& sequence) {
  const size_t end = chunk.start_position + chunk.tokens.size();
  for (size_t position = 0; position < end; ++position) {
    const worker::BlockId block = sequence.blocks.at(position / pipeline_.block_size);
    uint64_t& slot = cache_.at(size_t{block} * pipeline_.block_size + position % pipeline_.block_size);
    if (position >= chunk.start_position) slot = sequence.contents[position];
    if (slot != sequence.contents[position]) {
      return wrong("step ", last_step_, ": block ", block, " has lost position ", position, " of sequence ",
                   chunk.id);
    }
  }
}

void HashStage::sample(const BatchPlan& plan, std::vector<worker::SequenceSample>& samples) {
  std::optional<size_t> last_chunk;
  for (const worker::LogitRow& row : input_.logit_rows) {
    const worker::SequenceId id = plan.chunks[row.chunk_index].id;
    if (std::exchange(last_chunk, row.chunk_index) != row.chunk_index) samples.emplace_back().id = id;
    Sequence& sequence = sequences_.at(id);
    const worker::SamplingParams& sampling = sequence.sampling;
    if (row.use == worker::LogitUse::kSample) {
      samples.back().token =
          model_.sample(sequence.name, row.position, may_end(sequence, row.position), sampling.logprobs);
      sequence.append(samples.back().token->token);
    } else {
      samples.back().prompt_logprobs.push_back(model_.score_prompt(
          sequence.tokens[row.position], sequence.name, row.position, sampling.prompt_logprobs));
    }
  }
}

}  // namespace octet::simulation
