#include "worker/engine/engine.h"

#include <algorithm>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/status.h"

namespace octet::worker {
namespace {

constexpr Duration kOverloadRetry = std::chrono::seconds(1);

const char* label(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kDeadline:
      return "deadline";
  }
  return "internal";
}

const char* label(Refusal::Kind kind) {
  switch (kind) {
    case Refusal::Kind::kInvalid:
      return "invalid";
    case Refusal::Kind::kOverloaded:
      return "overloaded";
    case Refusal::Kind::kInternal:
      return "internal";
  }
  return "internal";
}

absl::Status to_status(const Refusal& refusal) {
  switch (refusal.kind) {
    case Refusal::Kind::kInvalid:
      return absl::InvalidArgumentError(refusal.message);
    case Refusal::Kind::kOverloaded:
      return overloaded(refusal.message, kOverloadRetry);
    case Refusal::Kind::kInternal:
      return absl::InternalError(refusal.message);
  }
  return absl::InternalError(refusal.message);
}

SequenceNews failure_news(absl::Status status) {
  SequenceNews news;
  news.failure = std::move(status);
  return news;
}

}  // namespace

Engine::Engine(const Config& config, Formation formation, StageClientFactory make_client,
               WorkerMetrics& metrics)
    : config_(config),
      make_client_(std::move(make_client)),
      metrics_(metrics),
      mailbox_(std::make_shared<Mailbox>(2 * size_t{config.scheduler.max_waiting_sequences} + 1024)),
      formation_(std::move(formation)) {}

Engine::~Engine() {
  stop();
}

void Engine::start(std::function<void(PipelineState)> on_state_change) {
  on_state_change_ = std::move(on_state_change);
  thread_ = std::thread([this] { run(); });
}

void Engine::stop() {
  mailbox_->close();
  if (thread_.joinable()) thread_.join();
}

void Engine::run() {
  std::vector<Event> events;
  form(now());
  while (mailbox_->take(events, next_wake())) {
    for (Event& event : events) {
      std::visit([this](auto& e) { handle(e); }, event);
    }
    watch_deadlines(now());
    form(now());
    plan_and_execute();
    deliver();
    publish();
  }
  finish(events);
}

// The loop has ended: nobody may wait for it any more.
void Engine::finish(std::vector<Event>& unhandled) {
  const absl::Status stopping = unavailable("the worker is stopping", kOverloadRetry);
  for (Event& event : unhandled) {
    if (auto* registration = std::get_if<RegisterEvent>(&event)) registration->answer(stopping);
    if (auto* subscription = std::get_if<SubscribeEvent>(&event)) subscription->output->end(stopping);
  }
  run_.reset();
  for (const SubscriberId id : table_.subscribers()) {
    table_.subscriber(id)->end(stopping);
  }
}

// The loop's middle: plans go out as long as there is room in the pipeline, and come back as ResultEvents.
void Engine::plan_and_execute() {
  while (run_ && run_->phase() == EpochRun::Phase::kServing) {
    const Time planned = now();
    std::optional<BatchPlan> plan = scheduler_->schedule(planned);
    if (!plan) return;
    size_t num_tokens = 0;
    for (const SequenceChunk& chunk : plan->chunks) num_tokens += chunk.tokens.size();
    run_->execute(*std::move(plan), planned, now());
    metrics_.step_tokens.Observe(static_cast<double>(num_tokens));
  }
}

void Engine::commit(const StepResult& result, const EpochRun::Step& step) {
  CommitOutcome outcome = scheduler_->commit(result);
  if (outcome.error) return end_epoch(absl::InternalError(*outcome.error));
  const Time committed = now();
  const double overhead =
      seconds(committed - step.planned) - static_cast<double>(result.timing.resident_ns) * 1e-9;
  metrics_.step_overhead_seconds.Observe(std::max(overhead, 0.0));
  metrics_.steps.Increment();
  last_step_ = committed;
  formation_.worked();
  report(std::move(outcome.updates));
}

void Engine::report(std::vector<SequenceUpdate> updates) {
  for (SequenceUpdate& update : updates) {
    SequenceNews news;
    news.tokens = std::move(update.tokens);
    news.prompt_logprobs = std::move(update.prompt_logprobs);
    news.num_cached_tokens = update.num_cached_tokens;
    news.finish = update.finish;
    if (update.failure) news.failure = to_status(*update.failure);
    if (update.finish || update.failure) {
      end_sequence(update.id, std::move(news),
                   update.finish ? label(*update.finish) : label(update.failure->kind));
    } else {
      table_.add_news(update.id, std::move(news));
    }
  }
}

void Engine::end_sequence(SequenceId id, SequenceNews news, const char* reason) {
  table_.add_news(id, std::move(news));
  table_.remove(id);
  metrics_.count_ended(reason);
}

void Engine::deliver() {
  for (const SubscriberId id : table_.flush()) {
    spdlog::warn("router stream {}: gone or too slow, its sequences are cancelled", id);
    cancel_subscriber(id);
  }
}

void Engine::handle(SubscribeEvent& event) {
  table_.add_subscriber(event.subscriber, std::move(event.output));
}

void Engine::handle(SubmitEvent& event) {
  const std::shared_ptr<Subscriber> subscriber = table_.subscriber(event.subscriber);
  if (subscriber == nullptr) return;
  const std::optional<SequenceId> id =
      table_.add(event.subscriber, event.router_sequence_id, event.output_interval);
  if (!id) {
    subscriber->end(
        invalid_field("sequence_id", absl::StrCat(event.router_sequence_id, " is in use on this stream")));
    return cancel_subscriber(event.subscriber);
  }
  event.sequence.id = *id;
  if (drain_end_) {
    end_sequence(*id, failure_news(unavailable("the pipeline is draining", kOverloadRetry)), "unavailable");
  } else if (scheduler_) {
    admit(std::move(event.sequence));
  } else if (early_.size() < config_.scheduler.max_waiting_sequences) {
    early_.push_back(std::move(event.sequence));
  } else {
    end_sequence(*id,
                 failure_news(overloaded("the pipeline is forming and its queue is full", kOverloadRetry)),
                 "overloaded");
  }
}

void Engine::admit(NewSequence sequence) {
  const SequenceId id = sequence.id;
  const std::optional<Refusal> refusal = scheduler_->submit(std::move(sequence));
  if (refusal) end_sequence(id, failure_news(to_status(*refusal)), label(refusal->kind));
}

void Engine::handle(CancelEvent& event) {
  const std::optional<SequenceId> id = table_.find(event.subscriber, event.router_sequence_id);
  if (!id) return;  // it has ended meanwhile
  table_.remove(*id);
  if (scheduler_) scheduler_->cancel(*id);
  std::erase_if(early_, [&](const NewSequence& sequence) { return sequence.id == *id; });
  metrics_.count_ended("cancelled");
}

void Engine::handle(UnsubscribeEvent& event) {
  cancel_subscriber(event.subscriber);
}

void Engine::cancel_subscriber(SubscriberId subscriber) {
  const std::vector<SequenceId> ids = table_.remove_subscriber(subscriber);
  for (const SequenceId id : ids) {
    if (scheduler_) scheduler_->cancel(id);
    metrics_.count_ended("cancelled");
  }
  if (early_.empty()) return;
  std::erase_if(early_, [&](const NewSequence& sequence) {
    return std::find(ids.begin(), ids.end(), sequence.id) != ids.end();
  });
}

void Engine::handle(RegisterEvent& event) {
  const absl::Status status = formation_.register_stage(event.registration, now());
  if (!status.ok()) {
    spdlog::error("refused a stage: {}", loggable(text_of(status), 512));
    event.answer(status);
  } else {
    event.answer(formation_.epoch());
  }
}

void Engine::handle(JoinedEvent& event) {
  if (!current(event.epoch)) return;
  const absl::Status status = run_->joined(event.stage, event.status, now());
  if (!status.ok()) end_epoch(status);
}

void Engine::handle(ResultEvent& event) {
  if (!current(event.epoch)) return;
  const bool was_serving = run_->phase() == EpochRun::Phase::kServing;
  const absl::StatusOr<std::optional<EpochRun::Step>> step = run_->answered(event.stage, event.result, now());
  if (!step.ok()) return end_epoch(step.status());
  if (was_serving) metrics_.record_stage_step(event.stage, event.result.timing);
  if (*step) commit(event.result, **step);
  if (!was_serving && run_->phase() == EpochRun::Phase::kServing) {
    spdlog::info("epoch {} is ready: {} stages, {} sequences", run_->epoch(), formation_.num_stages(),
                 table_.num_sequences());
  }
}

void Engine::handle(LostEvent& event) {
  if (!current(event.epoch)) return;
  end_epoch(
      absl::Status(event.status.code(), absl::StrCat("stage ", event.stage, ": ", event.status.message())));
}

void Engine::handle(DrainEvent& event) {
  drain_end_ = event.end;
}

void Engine::watch_deadlines(Time time) {
  if (run_ && time >= run_->deadline()) {
    const std::vector<int> late = run_->late_stages();
    for (const int stage : late) metrics_.count_timeout(stage);
    end_epoch(absl::DeadlineExceededError(absl::StrCat(
        late.size() == 1 ? "stage " : "stages ", absl::StrJoin(late, ", "),
        run_->phase() == EpochRun::Phase::kServing ? " did not finish a step within --step-timeout"
                                                   : " did not join within --join-timeout")));
  }
  if (scheduler_) report(scheduler_->expire(time));
  std::erase_if(early_, [&](const NewSequence& sequence) {
    if (sequence.deadline > time) return false;
    SequenceNews news;
    news.finish = FinishReason::kDeadline;
    end_sequence(sequence.id, std::move(news), label(FinishReason::kDeadline));
    return true;
  });
}

// Begins an epoch when all stages are there.
void Engine::form(Time time) {
  if (run_) return;
  const std::optional<EpochPlan> plan = formation_.begin(time);
  if (!plan) return;
  spdlog::info("epoch {}: joining {} stages", plan->epoch, plan->stages.size());
  if (!scheduler_) start_scheduler(plan->num_blocks);
  run_ = std::make_unique<EpochRun>(*plan, EpochRun::Timeouts{config_.join_timeout, config_.step_timeout},
                                    make_client_, mailbox_, time);
}

void Engine::start_scheduler(uint32_t num_blocks) {
  SchedulerConfig config = config_.scheduler;
  config.num_blocks = num_blocks;
  scheduler_ = std::make_unique<Scheduler>(config, &prefix_digest_);
  for (NewSequence& sequence : std::exchange(early_, {})) admit(std::move(sequence));
}

// Sequences stay; they are prefilled again in the next epoch.
void Engine::end_epoch(const absl::Status& reason) {
  spdlog::warn("epoch {} has ended: {}; {} sequences are kept", run_->epoch(), loggable(text_of(reason), 512),
               table_.num_sequences());
  run_.reset();
  scheduler_->reset();
  formation_.ended(now());
  metrics_.epochs_ended.Increment();
}

PipelineState Engine::state() const {
  if (drain_end_) return PipelineState::kDraining;
  return run_ && run_->phase() == EpochRun::Phase::kServing ? PipelineState::kReady : PipelineState::kForming;
}

Time Engine::next_wake() const {
  Time wake = run_ ? run_->deadline() : formation_.retry_time();
  if (!run_ && wake <= now()) wake = kNoDeadline;  // only a registration can help
  if (scheduler_) wake = std::min(wake, scheduler_->next_deadline());
  for (const NewSequence& sequence : early_) wake = std::min(wake, sequence.deadline);
  return wake;
}

void Engine::publish() {
  EngineStatus status;
  status.state = state();
  status.epoch = formation_.epoch();
  if (scheduler_) status.scheduler = scheduler_->stats();
  status.scheduler.waiting += static_cast<uint32_t>(early_.size());
  status.num_sequences = table_.num_sequences();
  status.step_deadline = run_ && run_->phase() == EpochRun::Phase::kServing ? run_->deadline() : kNoDeadline;
  status.last_step = last_step_;
  status.drain_end = drain_end_.value_or(kNoDeadline);
  const SchedulerStats& stats = status.scheduler;
  metrics_.epoch.Set(static_cast<double>(status.epoch));
  metrics_.running.Set(stats.running);
  metrics_.waiting.Set(stats.waiting);
  metrics_.kv_cache_blocks.Set(stats.total_blocks);
  metrics_.kv_cache_block_tokens.Set(config_.scheduler.block_size);
  if (stats.total_blocks > 0) {
    metrics_.kv_cache_usage_ratio.Set(1.0 - static_cast<double>(stats.free_blocks) / stats.total_blocks);
  }
  const SchedulerStats counted = std::exchange(counted_, stats);
  const auto count = [](prometheus::Counter& counter, uint64_t before, uint64_t now) {
    counter.Increment(static_cast<double>(now - before));
  };
  count(metrics_.preemptions, counted.preemptions, stats.preemptions);
  count(metrics_.prefix_query_tokens, counted.prefix_query_tokens, stats.prefix_query_tokens);
  count(metrics_.prefix_hit_tokens, counted.prefix_hit_tokens, stats.prefix_hit_tokens);
  count(metrics_.prefix_evictions, counted.prefix_evictions, stats.prefix_evictions);
  const PipelineState before = [&] {
    const std::lock_guard lock(status_mutex_);
    return std::exchange(status_, status).state;
  }();
  if (before != status.state) on_state_change_(status.state);
}

SubscriberId Engine::subscribe(std::shared_ptr<Subscriber> subscriber) {
  const SubscriberId id = next_subscriber_++;
  if (!mailbox_->post(SubscribeEvent{id, subscriber}))
    subscriber->end(unavailable("the worker is stopping", kOverloadRetry));
  return id;
}

void Engine::unsubscribe(SubscriberId subscriber) {
  mailbox_->post(UnsubscribeEvent{subscriber});
}

bool Engine::submit(SubscriberId subscriber, uint64_t router_sequence_id, NewSequence sequence,
                    uint32_t output_interval) {
  return mailbox_->offer(SubmitEvent{subscriber, router_sequence_id, std::move(sequence), output_interval});
}

bool Engine::cancel(SubscriberId subscriber, uint64_t router_sequence_id) {
  return mailbox_->offer(CancelEvent{subscriber, router_sequence_id});
}

void Engine::register_stage(Registration registration,
                            std::function<void(const absl::StatusOr<uint64_t>&)> answer) {
  if (!mailbox_->post(RegisterEvent{std::move(registration), answer})) {
    answer(unavailable("the worker is stopping", kOverloadRetry));
  }
}

void Engine::drain(Time end) {
  mailbox_->post(DrainEvent{end});
}

EngineStatus Engine::status() const {
  EngineStatus status;
  {
    const std::lock_guard lock(status_mutex_);
    status = status_;
  }
  if (hangs(status, now())) status.state = PipelineState::kStalled;
  return status;
}

// The loop acts on a step's deadline itself; it has some time for that, and as long for what it is sent.
bool Engine::hangs(const EngineStatus& status, Time time) const {
  constexpr Duration kTurn = std::chrono::milliseconds(800);
  if (status.step_deadline != kNoDeadline && time - status.step_deadline > kTurn) return true;
  const std::optional<Time> since = mailbox_->waiting_since();
  return since && time - *since > config_.step_timeout;
}

}  // namespace octet::worker
