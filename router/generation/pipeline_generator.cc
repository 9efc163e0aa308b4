#include "router/generation/pipeline_generator.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::router {
namespace {

constexpr Duration kRetryAfter = std::chrono::seconds(1);
constexpr Duration kMaxRetryAfter = std::chrono::minutes(1);

QueuedRequest queued(GenerationId id, const ValidatedRequest& request) {
  return {.id = id,
          .tenant = request.tenant.name,
          .weight = request.tenant.weight,
          .priority = request.priority,
          .deadline = request.deadline,
          .num_tokens = uint64_t{request.prompt.size()} * request.num_choices};
}

Placement placement_of(const ValidatedRequest& request) {
  return {.request = request, .num_sequences = request.num_choices};
}

const char* label(MoveReason reason) {
  switch (reason) {
    case MoveReason::kLost:
      return "lost";
    case MoveReason::kHung:
      return "hung";
    case MoveReason::kDraining:
      return "draining";
    case MoveReason::kFailed:
      return "failed";
  }
  return "failed";
}

std::string whole_seconds(Duration duration) {
  return absl::StrCat(static_cast<int64_t>(std::ceil(seconds(duration))), " s");
}

}  // namespace

PipelineGenerator::PipelineGenerator(boost::asio::io_context& loop, Pipelines& pipelines,
                                     std::shared_ptr<const Tokenizer> tokenizer, RouterMetrics& metrics,
                                     const Limits& limits)
    : loop_(loop),
      pipelines_(pipelines),
      tokenizer_(std::move(tokenizer)),
      metrics_(metrics),
      limits_(limits),
      queue_(limits.queue),
      moves_(limits.moves),
      timer_(loop),
      random_(std::random_device{}()) {}

PipelineGenerator::~PipelineGenerator() = default;

GenerationId PipelineGenerator::start(ValidatedRequest request, std::shared_ptr<GenerationSink> sink) {
  const GenerationId id = next_id_++;
  absl::Status status = admit(request.num_choices);
  if (status.ok()) {
    num_sequences_ += request.num_choices;
    RunningRequest::Owner owner = owner_of(id, request);
    in_flight_[id].request = std::make_shared<RunningRequest>(
        RunningRequest::Surroundings{loop_, pipelines_, tokenizer_, metrics_, limits_.deadline_grace},
        std::move(request), sink, now(), std::move(owner));
    status = start_or_wait(id);
    if (!status.ok()) cancel(id);
  }
  if (!status.ok()) {
    refused_.emplace(id, std::move(sink));
    boost::asio::post(loop_, [this, id, status] {
      if (auto refused = refused_.extract(id)) refused.mapped()->on_error(status);
    });
  }
  return id;
}

RunningRequest::Owner PipelineGenerator::owner_of(GenerationId id, const ValidatedRequest& request) {
  return {.on_end = [this, id] { remove(id); },
          .on_tokens = [this, tenant = request.tenant.name, priority = request.priority](
                           uint32_t num_tokens) { queue_.charge(tenant, priority, num_tokens); },
          .on_sequence_end = [this] { moves_.succeeded(); },
          .on_leave =
              [this, id](Moves::Leaving leaving) {
                leaving.id.request = id;
                return leave(leaving);
              },
          .on_draining = [this, id](uint32_t choice) { hand_over({.request = id, .choice = choice}); }};
}

void PipelineGenerator::cancel(GenerationId id) {
  refused_.erase(id);
  const auto entry = in_flight_.find(id);
  if (entry == in_flight_.end()) return;
  const auto request = entry->second.request;
  remove(id);
  request->cancel();
}

absl::Status PipelineGenerator::admit(uint32_t num_sequences) {
  if (draining_) {
    return refused(RefusalReason::kDraining, unavailable("the router is shutting down", kRetryAfter));
  }
  if (in_flight_.size() >= limits_.max_requests) {
    return refused(RefusalReason::kRequestsInFlight,
                   quota_exceeded("requests_in_flight",
                                  absl::StrCat("the router has its limit of ", limits_.max_requests,
                                               " requests in flight"),
                                  kRetryAfter));
  }
  if (num_sequences_ + num_sequences > limits_.max_sequences) {
    return refused(
        RefusalReason::kSequencesInFlight,
        quota_exceeded("sequences_in_flight",
                       absl::StrCat("the router has ", num_sequences_, " sequences in flight, of at most ",
                                    limits_.max_sequences, "; the request has ", num_sequences),
                       kRetryAfter));
  }
  return absl::OkStatus();
}

absl::Status PipelineGenerator::start_or_wait(GenerationId id) {
  const auto pipeline = pipelines_.choose(placement_of(in_flight_.at(id).request->request()));
  if (!pipeline.ok()) {
    if (!pipelines_.is_pausing()) return refused(RefusalReason::kNoPipeline, pipeline.status());
    queue_.set_stalled(true, now());
    return wait(id);
  }
  return queue_.empty() && moves_.empty() && *pipeline ? run(id, **pipeline) : wait(id);
}

absl::Status PipelineGenerator::run(GenerationId id, PipelineId pipeline) {
  const auto request = in_flight_.at(id).request;
  metrics_.queue_wait_seconds.Observe(seconds(now() - request->arrival()));
  return request->start(pipeline);
}

absl::Status PipelineGenerator::wait(GenerationId id) {
  Entry& entry = in_flight_.at(id);
  const QueuedRequest request = queued(id, entry.request->request());
  const RequestQueue::Push push = queue_.push(request, now());
  if (push.refusal != RequestQueue::Refusal::kNone) return refusal(push, request);
  entry.queue_request.emplace(metrics_.queue_requests(request.priority));
  entry.queue_tokens.emplace(metrics_.queue_tokens, static_cast<double>(request.num_tokens));
  watch_times();
  for (const GenerationId displaced : push.displaced) {
    const absl::Status status = refused(
        RefusalReason::kDisplaced,
        quota_exceeded("queued_requests",
                       "the queue is full, and one of a higher priority or of a tenant with less of it came",
                       kRetryAfter));
    boost::asio::post(loop_, [this, displaced, status] { fail(displaced, status); });
  }
  on_room();  // it may be the first now
  return absl::OkStatus();
}

absl::Status PipelineGenerator::refusal(const RequestQueue::Push& push, const QueuedRequest& request) {
  const Duration retry_after = std::clamp(push.wait.value_or(kRetryAfter), kRetryAfter, kMaxRetryAfter);
  switch (push.refusal) {
    case RequestQueue::Refusal::kDeadline:
      return refused(
          RefusalReason::kHopelessDeadline,
          quota_exceeded("queue_wait",
                         absl::StrCat("the request would wait about ", whole_seconds(*push.wait),
                                      ", and its deadline is in ", whole_seconds(request.deadline - now())),
                         retry_after));
    case RequestQueue::Refusal::kWait:
      return refused(RefusalReason::kQueueWait,
                     quota_exceeded("queue_wait",
                                    absl::StrCat("the request would wait about ", whole_seconds(*push.wait),
                                                 ", of at most ", whole_seconds(queue_.limits().max_wait)),
                                    retry_after));
    case RequestQueue::Refusal::kTokens:
      return refused(
          RefusalReason::kQueuedTokens,
          quota_exceeded("queued_tokens",
                         absl::StrCat(queue_.num_tokens(), " prompt tokens wait, of at most ",
                                      queue_.limits().max_tokens, "; the request has ", request.num_tokens),
                         retry_after));
    default:
      return refused(RefusalReason::kQueuedRequests,
                     quota_exceeded("queued_requests",
                                    absl::StrCat(queue_.num_requests(), " requests wait, of at most ",
                                                 queue_.limits().max_requests),
                                    retry_after));
  }
}

absl::Status PipelineGenerator::refused(RefusalReason reason, const absl::Status& status) {
  metrics_.count_refusal(reason);
  return status;
}

void PipelineGenerator::on_room() {
  if ((queue_.empty() && moves_.empty()) || std::exchange(will_dispatch_, true)) return;
  boost::asio::post(loop_, [this] {
    will_dispatch_ = false;
    dispatch();
  });
}

Moves::Verdict PipelineGenerator::leave(const Moves::Leaving& leaving) {
  const Moves::Verdict verdict = moves_.leave(leaving, now(), random_());
  if (verdict == Moves::Verdict::kMoves) {
    metrics_.count_move(label(leaving.reason));
    on_room();  // another pipeline may have some
  } else {
    metrics_.count_given_up(verdict == Moves::Verdict::kNoBudget ? "no_budget" : "too_often");
  }
  return verdict;
}

void PipelineGenerator::hand_over(const Moves::Id& id) {
  if (moves_.next(now())) return;  // has nowhere to go already
  RunningRequest& request = *in_flight_.at(id.request).request;
  const auto pipeline = pipelines_.choose(request.placement(id.choice));
  if (!pipeline.ok() || !*pipeline) return;
  metrics_.count_move(label(MoveReason::kDraining));
  request.hand_over(id.choice, **pipeline);
}

void PipelineGenerator::dispatch() {
  for (const GenerationId id : queue_.expire(now())) fail(id, deadline_exceeded());
  for (const Moves::Id& id : moves_.expire(now())) {
    metrics_.count_given_up("no_pipeline");
    fail(id.request,
         unavailable("the pipeline that ran the request was lost, and no other one is ready", kRetryAfter));
  }
  if (resume_moves()) start_queued();
  watch_times();
}

bool PipelineGenerator::resume_moves() {
  while (const auto id = moves_.next(now())) {
    const auto request = in_flight_.at(id->request).request;
    const auto pipeline = pipelines_.choose(request->placement(id->choice));
    moves_.set_no_pipeline(!pipeline.ok(), now());
    if (!pipeline.ok() || !*pipeline) return false;
    moves_.remove(*id);
    request->resume(id->choice, **pipeline);
  }
  return true;
}

void PipelineGenerator::start_queued() {
  while (const auto id = queue_.front()) {
    Entry& entry = in_flight_.at(*id);
    const auto pipeline = pipelines_.choose(placement_of(entry.request->request()));
    queue_.set_stalled(!pipeline.ok(), now());
    if (!pipeline.ok() || !*pipeline) return;
    queue_.pop(now());
    entry.queue_request.reset();
    entry.queue_tokens.reset();
    if (const absl::Status status = run(*id, **pipeline); !status.ok()) fail(*id, status);
  }
}

void PipelineGenerator::fail(GenerationId id, const absl::Status& status) {
  const auto entry = in_flight_.find(id);
  if (entry == in_flight_.end()) return;
  const auto request = entry->second.request;  // it removes itself
  request->fail(status);
}

void PipelineGenerator::watch_times() {
  const Time time = std::min(queue_.next_deadline(), moves_.next_time());
  if (time == kNoDeadline || time == timer_.expiry()) return;
  timer_.expires_at(time);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) dispatch();
  });
}

void PipelineGenerator::remove(GenerationId id) {
  const auto entry = in_flight_.find(id);
  if (entry == in_flight_.end()) return;
  queue_.remove(id, now());
  moves_.remove_request(id);
  num_sequences_ -= entry->second.request->request().num_choices;
  in_flight_.erase(entry);
}

}  // namespace octet::router
