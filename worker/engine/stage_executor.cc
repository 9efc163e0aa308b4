#include "worker/engine/stage_executor.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace octet::worker {

StageExecutor::StageExecutor(PipelineStage& stage, TcpLinkListener* listener)
    : stage_(stage), listener_(listener), thread_([this] { run(); }) {}

StageExecutor::~StageExecutor() {
  stop();
}

void StageExecutor::stop() {
  std::optional<Join> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    dropped = std::exchange(join_, std::nullopt);
    end_epoch_locked();
  }
  arrived_.notify_one();
  if (thread_.joinable()) thread_.join();
  if (dropped) dropped->done(absl::CancelledError("the worker is stopping"));
}

void StageExecutor::join(const JoinCommand& command, std::function<void(const absl::Status&)> done) {
  std::optional<Join> replaced;
  absl::Status refusal;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) {
      refusal = absl::CancelledError("the worker is stopping");
    } else if (command.epoch <= last_epoch_) {
      refusal = absl::FailedPreconditionError(absl::StrCat("epoch ", command.epoch, " is not newer than ",
                                                           last_epoch_, ", which the stage has joined"));
    } else if (command.num_blocks == 0 || command.num_blocks > stage_.shape().num_blocks) {
      refusal = absl::FailedPreconditionError(absl::StrCat(
          "num_blocks: must be 1 to ", stage_.shape().num_blocks, ", given ", command.num_blocks));
    } else {
      end_epoch_locked();
      last_epoch_ = command.epoch;
      joining_ = std::stop_source();
      replaced = std::exchange(join_, Join{command, done, joining_.get_token()});
    }
  }
  arrived_.notify_one();
  if (!refusal.ok()) done(refusal);
  if (replaced) replaced->done(absl::CancelledError("a newer epoch is being joined"));
}

void StageExecutor::execute(uint64_t epoch, std::shared_ptr<const BatchPlan> plan,
                            std::function<void(StepResult)> done) {
  const Time arrived = now();
  {
    const std::lock_guard lock(mutex_);
    if (stopped_ || epoch != epoch_) return;
    plans_.push_back({epoch, std::move(plan), arrived, std::move(done)});
  }
  arrived_.notify_one();
}

void StageExecutor::end_epoch(uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  if (epoch == last_epoch_) end_epoch_locked();
}

void StageExecutor::end_epoch_locked() {
  epoch_ = 0;
  plans_.clear();
  joining_.request_stop();
  stage_.abort_epoch();
}

void StageExecutor::run() {
  Time idle_since = now();
  for (;;) {
    std::optional<Join> join;
    std::optional<Plan> plan;
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return stopped_ || join_ || !plans_.empty(); });
      if (stopped_) return;
      if (join_) {
        join = std::exchange(join_, std::nullopt);
      } else {
        plan = std::move(plans_.front());
        plans_.pop_front();
        busy_since_ = now();
      }
    }
    if (join) join->done(build_epoch(*join));
    if (plan) execute_now(*plan, now() - idle_since);
    idle_since = now();
  }
}

absl::Status StageExecutor::build_epoch(const Join& join) {
  const JoinCommand& command = join.command;
  const Time deadline = now() + command.timeout;
  const int num_ranks = stage_.num_ranks();
  StageLinks links;
  if (!command.next_link_address.empty()) {
    auto to_next = connect_links(command.next_link_address, command.epoch, command.link_key, num_ranks,
                                 deadline, join.stop);
    if (!to_next.ok()) return to_next.status();
    links.to_next = *std::move(to_next);
  }
  if (listener_ != nullptr) {
    auto from_previous = listener_->accept(command.epoch, command.link_key, num_ranks, deadline, join.stop);
    if (!from_previous.ok()) return from_previous.status();
    links.from_previous = *std::move(from_previous);
  }
  const absl::Status overtaken = absl::CancelledError("the epoch has ended, or a newer one is being joined");
  {
    const std::lock_guard lock(mutex_);
    if (join.stop.stop_requested()) return overtaken;
    absl::Status started = stage_.start_epoch(command.epoch, std::move(links), command.num_blocks);
    if (!started.ok()) return started;
  }
  // Without the lock: what ends the epoch has to get through while this waits for the neighbours.
  if (absl::Status connected = stage_.connect(deadline); !connected.ok()) return connected;
  const std::lock_guard lock(mutex_);
  if (join.stop.stop_requested()) return overtaken;
  epoch_ = command.epoch;
  return absl::OkStatus();
}

void StageExecutor::execute_now(const Plan& plan, Duration idle) {
  StepResult result = stage_.execute(*plan.plan);
  const Time ended = now();
  result.timing.idle_ns = nanoseconds(idle);
  result.timing.resident_ns = nanoseconds(ended - plan.arrived);
  {
    const std::lock_guard lock(mutex_);
    busy_since_.reset();
    last_step_ = ended;
    if (!result.error.empty() && epoch_ == plan.epoch) end_epoch_locked();
  }
  plan.done(std::move(result));
}

uint64_t StageExecutor::last_epoch() const {
  const std::lock_guard lock(mutex_);
  return last_epoch_;
}

std::optional<Time> StageExecutor::busy_since() const {
  const std::lock_guard lock(mutex_);
  return busy_since_;
}

std::optional<Time> StageExecutor::last_step() const {
  const std::lock_guard lock(mutex_);
  return last_step_;
}

}  // namespace octet::worker
