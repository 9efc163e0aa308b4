#include "worker/simulated/simulated_stage.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::worker {

absl::StatusOr<std::unique_ptr<PipelineStage>> SimulatedStage::load(const StageConfig& config,
                                                                    const SimulatedPace& pace) {
  auto read = read_shape(config);
  if (!read.ok()) return read.status();
  StageShape shape = *std::move(read);
  shape.kv_cache_type = config.kv_cache_type.value_or(kernels::DType::kBFloat16);
  const auto num_blocks = count_blocks(config, shape, config.kv_cache_bytes.value_or(kCpuKvCacheBytes));
  if (!num_blocks.ok()) return num_blocks.status();
  shape.num_blocks = *num_blocks;
  return std::unique_ptr<PipelineStage>(new SimulatedStage(config, std::move(shape), pace));
}

SimulatedStage::SimulatedStage(const StageConfig& config, StageShape shape, const SimulatedPace& pace)
    : config_(config),
      shape_(std::move(shape)),
      pace_(pace),
      vocabulary_{static_cast<uint32_t>(shape_.model.vocab_size),
                  static_cast<TokenId>(shape_.model.eos_token_id)},
      states_(nullptr) {}

absl::Status SimulatedStage::start_epoch(uint64_t epoch, StageLinks links, uint32_t num_blocks) {
  close(absl::CancelledError(absl::StrCat("epoch ", epoch, " starts")));
  const auto num_ranks = static_cast<size_t>(config_.num_ranks);
  if (num_blocks < 1 || num_blocks > shape_.num_blocks ||
      links.from_previous.size() != (config_.stage == 0 ? 0 : num_ranks) ||
      links.to_next.size() != (is_last() ? 0 : num_ranks)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "epoch ", epoch, ": ", num_blocks, " of ", shape_.num_blocks, " blocks, ", links.from_previous.size(),
        " and ", links.to_next.size(), " links of ", num_ranks, " ranks"));
  }
  PlanLimits limits;
  limits.vocab_size = vocabulary_.size;
  limits.max_model_len = static_cast<uint32_t>(shape_.model.max_model_len);
  limits.block_size = config_.block_size;
  limits.num_blocks = num_blocks;
  limits.max_batch_tokens = config_.max_batch_tokens;
  states_.reset(limits);
  answers_.clear();
  last_step_.reset();
  const std::lock_guard lock(mutex_);
  links_ = std::move(links);
  failure_ = absl::OkStatus();
  return absl::OkStatus();
}

StepResult SimulatedStage::execute(const BatchPlan& plan) {
  StepResult result;
  result.step = plan.step;
  const absl::Status status = run(plan, result);
  if (!status.ok()) {
    close(status);
    result.samples.clear();
    result.error = absl::StrCat("stage ", config_.stage, ": ", std::string(status.message()));
  }
  return result;
}

absl::Status SimulatedStage::run(const BatchPlan& plan, StepResult& result) {
  if (absl::Status status = failure(); !status.ok()) return status;
  if (absl::Status status = take_step(plan.step); !status.ok()) return status;
  if (absl::Status status = make_batch_input(plan, states_, input_); !status.ok()) return status;
  const Time began = now();
  if (absl::Status status = receive(plan.step); !status.ok()) return status;
  const Time received = now();
  wait(pace_.step + pace_.token * input_.model.num_rows());
  if (is_last()) {
    admit(plan);
    sample(plan, result.samples);
  }
  const Time computed = now();
  if (absl::Status status = send(plan.step); !status.ok()) return status;
  result.timing.receive_wait_ns = nanoseconds(received - began);
  result.timing.compute_ns = nanoseconds(computed - received);
  result.timing.send_ns = nanoseconds(now() - computed);
  return failure();
}

// An epoch's steps rise by one, from 0 with a warm-up or from 1 without.
absl::Status SimulatedStage::take_step(uint64_t step) {
  if (last_step_ ? step != *last_step_ + 1 : step > 1) {
    return absl::InvalidArgumentError(absl::StrCat("plan of step ", step, " is out of order"));
  }
  last_step_ = step;
  return absl::OkStatus();
}

// Every link carries each step with no bytes in it.
absl::Status SimulatedStage::receive(uint64_t step) {
  for (int rank = 0; config_.stage > 0 && rank < config_.num_ranks; ++rank) {
    absl::Status status =
        links_.from_previous[static_cast<size_t>(rank)]->receive(step, {}, now() + config_.step_timeout);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status SimulatedStage::send(uint64_t step) {
  for (int rank = 0; !is_last() && rank < config_.num_ranks; ++rank) {
    absl::Status status =
        links_.to_next[static_cast<size_t>(rank)]->send(step, {}, now() + config_.step_timeout);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void SimulatedStage::wait(Duration duration) {
  std::unique_lock lock(mutex_);
  closed_.wait_for(lock, duration, [this] { return !failure_.ok(); });
}

absl::Status SimulatedStage::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

// Wakes who waits; the first reason stays.
void SimulatedStage::close(const absl::Status& reason) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_.ok()) failure_ = reason;
    for (const auto& link : links_.from_previous) link->close();
    for (const auto& link : links_.to_next) link->close();
  }
  closed_.notify_all();
}

void SimulatedStage::abort_epoch() {
  close(absl::CancelledError("the epoch was aborted"));
}

void SimulatedStage::admit(const BatchPlan& plan) {
  for (const SequenceId id : plan.released) answers_.erase(id);
  for (const AdmittedSequence& sequence : plan.admitted) {
    const auto prompt = std::span(sequence.tokens).first(sequence.num_prompt_tokens);
    Answer answer{simulated_name(prompt), sequence.num_prompt_tokens, sequence.sampling, {}};
    if (sequence.sampling.prompt_logprobs) answer.prompt.assign(prompt.begin(), prompt.end());
    answers_.insert_or_assign(sequence.id, std::move(answer));
  }
}

void SimulatedStage::sample(const BatchPlan& plan, std::vector<SequenceSample>& samples) const {
  std::optional<size_t> last_chunk;
  for (const LogitRow& row : input_.logit_rows) {
    const SequenceId id = plan.chunks[row.chunk_index].id;
    if (std::exchange(last_chunk, row.chunk_index) != row.chunk_index) samples.emplace_back().id = id;
    const Answer& answer = answers_.at(id);
    if (row.use == LogitUse::kSample && answer.sampling.constraint) {
      samples.back().refusal = "a simulated pipeline does not keep to it";
    } else if (row.use == LogitUse::kSample) {
      samples.back().token = sampled(answer, row.position);
    } else {
      samples.back().prompt_logprobs.push_back(scored(answer.prompt[row.position],
                                                      simulated_draw(answer.name, row.position),
                                                      answer.sampling.prompt_logprobs));
    }
  }
}

ScoredToken SimulatedStage::sampled(const Answer& answer, uint32_t position) const {
  const std::vector<TokenId>& suppressed = answer.sampling.suppressed_before_min_tokens;
  const bool may_end = position - answer.num_prompt_tokens >= answer.sampling.min_tokens ||
                       std::find(suppressed.begin(), suppressed.end(), vocabulary_.eos) == suppressed.end();
  const uint64_t draw = simulated_draw(answer.name, position);
  ScoredToken token = scored(simulated_token(draw, vocabulary_, may_end), draw, answer.sampling.logprobs);
  if (!answer.sampling.logprobs) token.logprob = 0;
  return token;
}

// A made-up log-probability, and as alternatives the token itself and those after it in the vocabulary.
ScoredToken SimulatedStage::scored(TokenId token, uint64_t draw, std::optional<uint32_t> num_top) const {
  ScoredToken result;
  result.token = token;
  result.logprob = -static_cast<float>(draw >> 52) / 1024;
  for (uint32_t i = 0; i < std::min(num_top.value_or(0), vocabulary_.size); ++i) {
    result.top_tokens.push_back((token + i) % vocabulary_.size);
    result.top_logprobs.push_back(result.logprob - static_cast<float>(i));
  }
  return result;
}

}  // namespace octet::worker
