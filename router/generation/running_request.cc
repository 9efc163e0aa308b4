#include "router/generation/running_request.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "octet/v1/pipeline.pb.h"
#include "router/generation/choice.h"
#include "router/generation/decode_pace.h"
#include "router/generation/start_sequence.h"
#include "router/routing/sequence_output.h"

namespace octet::router {
namespace {

constexpr Duration kRetryAfter = std::chrono::seconds(1);

// The lead's refusal or failure as the client is to see it.
absl::Status lead_error(const v1::SequenceOutput& output) {
  const auto code = static_cast<absl::StatusCode>(output.error_code());
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kDeadlineExceeded:
      return absl::Status(code, output.error_message());
    case absl::StatusCode::kResourceExhausted:
      return overloaded(output.error_message(), kRetryAfter);
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:
      return unavailable(output.error_message(), kRetryAfter);
    default:
      return absl::InternalError(output.error_message());
  }
}

const char* name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "";
}

TokenLogprob to_token(const v1::ScoredToken& scored) {
  TokenLogprob token{.token = scored.token_id(), .logprob = scored.logprob(), .top = {}};
  const int num_top = std::min(scored.top_token_ids_size(), scored.top_logprobs_size());
  token.top.reserve(num_top);
  for (int i = 0; i < num_top; ++i) token.top.emplace_back(scored.top_token_ids(i), scored.top_logprobs(i));
  return token;
}

}  // namespace

absl::Status deadline_exceeded() {
  return absl::DeadlineExceededError("the request's deadline passed before its first token");
}

// One choice on its pipeline.
struct RunningRequest::Sequence final : SequenceEvents {
  Sequence(RunningRequest& owner, uint32_t choice_index)
      : request(owner),
        index(choice_index),
        choice(owner.surroundings_.tokenizer, owner.request_, choice_index) {}

  void on_output(const v1::SequenceOutput& output) override {
    const auto keep = request.shared_from_this();
    request.on_output(*this, output);
  }
  void on_draining(Time end) override {
    const auto keep = request.shared_from_this();
    request.on_draining(*this, end);
  }
  void on_lost(MoveReason reason) override {
    const auto keep = request.shared_from_this();
    request.leave(*this, reason, false,
                  unavailable("the pipelines that ran the request were lost", kRetryAfter));
  }

  RunningRequest& request;
  const uint32_t index;
  Choice choice;
  std::vector<TokenId> tokens;           // generated so far: with the prompt all it takes to go on elsewhere
  std::optional<SequenceHandle> handle;  // while it runs on a pipeline
  bool finished = false;
  std::optional<Time> last_tokens;  // when its last tokens came
  bool heard = false;               // a lead has told of it
  DecodePace pace;                  // where it runs
  uint32_t num_moves_in_a_row = 0;  // without a token between
  PipelineId failed_on = 0;         // that answered with a failure last
};

RunningRequest::RunningRequest(const Surroundings& surroundings, ValidatedRequest request,
                               std::shared_ptr<GenerationSink> sink, Time arrival, Owner owner)
    : surroundings_(surroundings),
      request_(std::move(request)),
      sink_(std::move(sink)),
      arrival_(arrival),
      owner_(std::move(owner)),
      request_in_flight_(surroundings.metrics.requests_in_flight),
      sequences_in_flight_(surroundings.metrics.sequences_in_flight, request_.num_choices),
      deadline_timer_(surroundings.loop) {
  usage_.prompt_tokens = static_cast<uint32_t>(request_.prompt.size());
}

RunningRequest::~RunningRequest() {
  end_sequences();
  if (request_.record) record_end();
}

void RunningRequest::record_end() {
  track_.prompt_tokens = usage_.prompt_tokens;
  track_.cached_tokens = usage_.cached_tokens;
  track_.output_tokens = usage_.completion_tokens;
  for (const auto& sequence : sequences_) {
    if (!sequence->finished) track_.output_tokens += sequence->choice.num_tokens();
  }
  request_.record->add(track_);
}

absl::Status RunningRequest::start(PipelineId pipeline) {
  const Time start_time = now();
  if (request_.deadline <= start_time) return deadline_exceeded();
  track_.start = start_time;
  for (uint32_t i = 0; i < request_.num_choices; ++i) {
    sequences_.push_back(std::make_unique<Sequence>(*this, i));
    run_on(*sequences_.back(), pipeline, start_time);
  }
  surroundings_.metrics.prompt_tokens.Increment(static_cast<double>(request_.prompt.size()));
  if (request_.deadline != kNoDeadline) {
    deadline_timer_.expires_at(request_.deadline + surroundings_.deadline_grace);
    deadline_timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (!error && self) self->on_deadline();
    });
  }
  return absl::OkStatus();
}

void RunningRequest::run_on(Sequence& sequence, PipelineId pipeline, Time now) {
  sequence.pace = {};
  // A prompt that is scored in part is scored again.
  if (sequence.index == 0 && !prompt_logprobs_sent_) prompt_logprobs_.clear();
  const SequenceProgress progress{.generated = sequence.tokens, .scores_prompt = !prompt_logprobs_sent_};
  sequence.handle = surroundings_.pipelines.start(
      pipeline, start_sequence(request_, sequence.index, progress, now), sequence);
}

Placement RunningRequest::placement(uint32_t choice) const {
  const Sequence& sequence = *sequences_.at(choice);
  return {.request = request_,
          .num_sequences = 1,
          .num_generated = sequence.tokens.size(),
          .avoid = sequence.failed_on};
}

void RunningRequest::resume(uint32_t choice, PipelineId pipeline) {
  const Time time = now();
  if (request_.deadline <= time) return on_deadline();
  run_on(*sequences_.at(choice), pipeline, time);
}

void RunningRequest::hand_over(uint32_t choice, PipelineId pipeline) {
  if (const auto handle = std::exchange(sequences_.at(choice)->handle, std::nullopt))
    surroundings_.pipelines.cancel(*handle);
  resume(choice, pipeline);
}

void RunningRequest::leave(Sequence& sequence, MoveReason reason, bool answered, const absl::Status& why) {
  const auto handle = std::exchange(sequence.handle, std::nullopt);
  if (!sink_) return;
  sequence.failed_on = answered && handle ? handle->pipeline : 0;
  const Moves::Verdict verdict = owner_.on_leave({.id = {.request = 0, .choice = sequence.index},
                                                  .priority = request_.priority,
                                                  .reason = reason,
                                                  .answered = answered,
                                                  .num_in_a_row = ++sequence.num_moves_in_a_row});
  if (verdict != Moves::Verdict::kMoves) fail(why);
}

void RunningRequest::on_failure(Sequence& sequence, const absl::Status& why) {
  switch (why.code()) {
    case absl::StatusCode::kInvalidArgument:
      return fail(why);
    case absl::StatusCode::kUnavailable:  // it takes nothing new: nothing was tried
      return leave(sequence, MoveReason::kDraining, true, why);
    default:
      return leave(sequence, MoveReason::kFailed, true, why);
  }
}

void RunningRequest::on_draining(Sequence& sequence, Time end) {
  const auto num_left = static_cast<uint32_t>(request_.max_tokens - sequence.tokens.size());
  if (!sequence.pace.fits(num_left, now(), end)) owner_.on_draining(sequence.index);
}

void RunningRequest::cancel() {
  end_sequences();
  deadline_timer_.cancel();
  sink_.reset();
}

void RunningRequest::fail(const absl::Status& status) {
  if (!sink_) return;
  const auto sink = std::move(sink_);
  cancel();
  owner_.on_end();
  sink->on_error(status);
}

void RunningRequest::on_output(Sequence& sequence, const v1::SequenceOutput& output) {
  if (!sink_) return;
  const bool by_deadline = output.finish_reason() == v1::FINISH_REASON_DEADLINE ||
                           output.error_code() == static_cast<int>(absl::StatusCode::kDeadlineExceeded);
  if (output.error_code() != 0 && !by_deadline) return on_failure(sequence, lead_error(output));
  if (output.finish_reason() == v1::FINISH_REASON_CANCELLED) {
    return leave(sequence, MoveReason::kFailed, true,
                 unavailable("the pipeline stopped the request", kRetryAfter));
  }
  if (is_last(output)) sequence.handle.reset();
  // What other pipelines have cached of it after a move saves the client nothing.
  if (!std::exchange(sequence.heard, true) && sequence.index == 0)
    usage_.cached_tokens = output.cached_tokens();

  if (sequence.index == 0 && !may_send()) {
    if (const absl::Status status = take_prompt_logprobs(output); !status.ok()) return fail(status);
    if (!sink_) return;
  }
  if (const absl::Status status = take_tokens(sequence, output); !status.ok()) return fail(status);

  if (by_deadline) {
    if (!has_tokens_ || !may_send()) return fail(deadline_exceeded());
    finish(sequence, FinishReason::kDeadline);
  } else if (sequence.choice.matched_stop() || output.finish_reason() == v1::FINISH_REASON_STOP) {
    finish(sequence, FinishReason::kStop);
  } else if (is_last(output)) {
    finish(sequence, FinishReason::kLength);
  } else {
    send(sequence.choice.take());
  }
}

absl::Status RunningRequest::take_tokens(Sequence& sequence, const v1::SequenceOutput& output) {
  const int num_tokens = output.tokens_size();
  if (num_tokens == 0) return absl::OkStatus();
  if (sequence.tokens.size() + num_tokens > request_.max_tokens) {
    return absl::InternalError(
        absl::StrCat("the pipeline sent more tokens than max_tokens = ", request_.max_tokens));
  }
  observe_tokens(sequence, num_tokens);
  sequence.num_moves_in_a_row = 0;
  owner_.on_tokens(num_tokens);
  const uint32_t before = sequence.choice.num_tokens();
  const auto& stops = request_.stop_token_ids;
  for (int i = 0; i < num_tokens; ++i) {
    TokenLogprob token = to_token(output.tokens(i));
    sequence.tokens.push_back(token.token);
    const bool ends = i + 1 == num_tokens && output.finish_reason() == v1::FINISH_REASON_STOP &&
                      std::find(stops.begin(), stops.end(), token.token) != stops.end();
    ends ? sequence.choice.add_stop_token(std::move(token)) : sequence.choice.add(std::move(token));
  }
  surroundings_.metrics.generated_tokens.Increment(sequence.choice.num_tokens() - before);
  return absl::OkStatus();
}

absl::Status RunningRequest::take_prompt_logprobs(const v1::SequenceOutput& output) {
  const size_t num_expected = request_.prompt.size() - 1;
  const size_t num_given = prompt_logprobs_.size() + static_cast<size_t>(output.prompt_logprobs_size());
  const bool is_whole = output.tokens_size() > 0 || output.finish_reason() == v1::FINISH_REASON_STOP ||
                        output.finish_reason() == v1::FINISH_REASON_LENGTH;
  if (num_given > num_expected || (num_given < num_expected && is_whole)) {
    return absl::InternalError(absl::StrCat("the pipeline sent ", num_given, " prompt log-probabilities for ",
                                            request_.prompt.size(), " prompt tokens"));
  }
  for (const v1::ScoredToken& scored : output.prompt_logprobs()) prompt_logprobs_.push_back(to_token(scored));
  if (num_given < num_expected) return absl::OkStatus();
  prompt_logprobs_sent_ = true;
  sink_->on_prompt_logprobs(std::move(prompt_logprobs_));
  for (Piece& piece : std::exchange(held_pieces_, {})) send(std::move(piece));
  return absl::OkStatus();
}

void RunningRequest::on_deadline() {
  if (!sink_) return;
  end_sequences();
  if (!has_tokens_ || !may_send()) return fail(deadline_exceeded());
  for (const auto& sequence : sequences_) {
    if (sink_ && !sequence->finished) finish(*sequence, FinishReason::kDeadline);
  }
}

void RunningRequest::finish(Sequence& sequence, FinishReason reason) {
  if (const auto handle = std::exchange(sequence.handle, std::nullopt))
    surroundings_.pipelines.cancel(*handle);
  sequence.finished = true;
  if (request_.record) track_.finish_reasons.emplace_back(name_of(reason));
  if (reason != FinishReason::kDeadline) owner_.on_sequence_end();
  usage_.completion_tokens += sequence.choice.num_tokens();
  send(sequence.choice.finish(reason));
  if (++num_finished_ < request_.num_choices || !sink_) return;
  const auto sink = std::move(sink_);
  cancel();
  surroundings_.metrics.request_seconds.Observe(seconds(now() - arrival_));
  owner_.on_end();
  sink->on_done(usage_);
}

void RunningRequest::send(Piece piece) {
  if (!sink_ || (piece.tokens.empty() && piece.text.empty() && !piece.finish)) return;
  if (may_send()) {
    sink_->on_piece(std::move(piece));
  } else {
    held_pieces_.push_back(std::move(piece));
  }
}

void RunningRequest::observe_tokens(Sequence& sequence, int num_tokens) {
  const Time time = now();
  if (!has_tokens_) {
    surroundings_.metrics.time_to_first_token_seconds.Observe(seconds(time - arrival_));
    track_.first_token = time;
  }
  has_tokens_ = true;
  if (sequence.last_tokens) {
    surroundings_.metrics.inter_token_latency_seconds.Observe(seconds(time - *sequence.last_tokens) /
                                                              num_tokens);
  }
  sequence.last_tokens = time;
  sequence.pace.add(static_cast<uint32_t>(num_tokens), time);
}

void RunningRequest::end_sequences() {
  for (const auto& sequence : sequences_) {
    if (const auto handle = std::exchange(sequence->handle, std::nullopt))
      surroundings_.pipelines.cancel(*handle);
  }
}

}  // namespace octet::router
