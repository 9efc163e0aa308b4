#include "tests/simulation/runtime.h"

#include <sys/eventfd.h>
#include <sys/mman.h>

#include <algorithm>
#include <boost/context/stack_context.hpp>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace octet::simulation {
namespace {

// No process' clock begins at zero.
constexpr Duration kClockBase = std::chrono::hours(1000);
constexpr Duration kMaxWakeDelay = std::chrono::microseconds(50);
constexpr size_t kStackBytes = size_t{256} << 10;

// Stacks that outlive their runtime, since a run needs some dozens and a program does thousands of runs.
class PooledStacks {
 public:
  boost::context::stack_context allocate() {
    std::vector<void*>& pool = stacks();
    void* base = nullptr;
    if (pool.empty()) {
      base = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      OCTET_CHECK(base != MAP_FAILED, "no memory for a stack");
      OCTET_CHECK(mprotect(base, 4096, PROT_NONE) == 0, "a guard page");
    } else {
      base = pool.back();
      pool.pop_back();
    }
    boost::context::stack_context context;
    context.size = kStackBytes;
    context.sp = static_cast<char*>(base) + kStackBytes;
    return context;
  }
  void deallocate(boost::context::stack_context& context) {
    stacks().push_back(static_cast<char*>(context.sp) - kStackBytes);
  }

 private:
  static std::vector<void*>& stacks() {
    static auto* const pool = new std::vector<void*>();
    return *pool;
  }
};

}  // namespace

struct Runtime::Fiber {
  boost::context::fiber context;
  std::function<void()> body;
  ProcessPtr process;
  uint64_t wait_number = 0;  // rises with every wait
  bool timed = false;        // its wait has a deadline
  FiberId thread = 0;        // 0: no thread of the process
  Fiber* joiner = nullptr;
  bool detached = false;
  bool ended = false;
};

Runtime* Runtime::current_ = nullptr;

Runtime::Runtime(uint64_t seed) : random_(seed) {
  OCTET_CHECK(current_ == nullptr, "two runtimes");
  current_ = this;
}

// What a fiber that still waits has on its stack is unwound with it.
Runtime::~Runtime() {
  fibers_.clear();
  current_ = nullptr;
}

Runtime* Runtime::current() {
  return current_;
}

const ProcessPtr& Runtime::process() const {
  static const ProcessPtr none;
  return running_ == nullptr ? none : running_->process;
}

Time Runtime::process_time(const Process* process) const {
  Duration shown = time_ + kClockBase;
  if (process != nullptr) {
    shown += process->clock_offset +
             Duration(std::llround(static_cast<double>(time_.count()) * process->clock_drift_ppm * 1e-6));
  }
  return Time(shown);
}

Duration Runtime::world_time(const Process& process, Time shown) const {
  const Duration since = shown.time_since_epoch() - kClockBase - process.clock_offset;
  const double world = static_cast<double>(since.count()) / (1 + process.clock_drift_ppm * 1e-6);
  return std::max(time_, Duration(static_cast<int64_t>(std::ceil(world))));
}

uint64_t Runtime::between(uint64_t low, uint64_t high) {
  return low + random_() % (high - low + 1);
}

Duration Runtime::between(Duration low, Duration high) {
  return low + Duration(static_cast<int64_t>(random_() % static_cast<uint64_t>((high - low).count() + 1)));
}

bool Runtime::chance(double probability) {
  return static_cast<double>(random_() >> 11) * 0x1p-53 < probability;
}

void Runtime::note(uint64_t value) {
  digest_ = (digest_ ^ value) * 0x9E3779B97F4A7C15;
  digest_ ^= digest_ >> 32;
}

void Runtime::push(Event event) {
  event.time = std::max(event.time, time_);
  event.order = random_();
  events_.push(std::move(event));
}

void Runtime::at(Duration time, ProcessPtr process, std::function<void()> f) {
  push({.time = time, .order = 0, .process = std::move(process), .function = std::move(f)});
}

void Runtime::at_the_end_of(ProcessPtr process, std::function<void()> f) {
  push({.time = time_,
        .order = 0,
        .process = std::move(process),
        .even_if_dead = true,
        .function = std::move(f)});
}

bool Runtime::step() {
  if (events_.empty()) return false;
  Event event = events_.top();
  events_.pop();
  time_ = event.time;
  if (event.process && event.process->frozen) {
    held_.emplace_back(event.process.get(), std::move(event));
    return true;
  }
  ++num_events_;
  note(static_cast<uint64_t>(time_.count()));
  if (event.fiber != nullptr) {
    if (event.fiber->wait_number == event.wait_number) run(*event.fiber);
  } else if (!event.process || event.process->alive || event.even_if_dead) {
    Fiber* fiber = idle_fiber();
    fiber->process = std::move(event.process);
    fiber->body = std::move(event.function);
    run(*fiber);
  }
  return true;
}

void Runtime::run_until(Duration time) {
  while (!events_.empty() && events_.top().time <= time) step();
  time_ = std::max(time_, time);
}

Runtime::Fiber* Runtime::idle_fiber() {
  if (!idle_.empty()) {
    Fiber* fiber = idle_.back();
    idle_.pop_back();
    return fiber;
  }
  Fiber* fiber = fibers_.emplace_back(std::make_unique<Fiber>()).get();
  fiber->context =
      boost::context::fiber(std::allocator_arg, PooledStacks(), [this, fiber](boost::context::fiber&& from) {
        scheduler_ = std::move(from);
        for (;;) {
          std::exchange(fiber->body, nullptr)();
          fiber->ended = true;
          suspend();
        }
        return std::move(scheduler_);
      });
  return fiber;
}

void Runtime::run(Fiber& fiber) {
  ++fiber.wait_number;  // whatever else would have woken it comes too late
  fiber.ended = false;
  running_ = &fiber;
  fiber.context = std::move(fiber.context).resume();
  running_ = nullptr;
  if (!fiber.ended) return;
  if (fiber.joiner != nullptr) wake(*std::exchange(fiber.joiner, nullptr), Duration(0));
  fiber.process = nullptr;
  if (fiber.thread == 0 || fiber.detached) {
    threads_.erase(fiber.thread);
    fiber.thread = 0;
    fiber.detached = false;
    idle_.push_back(&fiber);
  }
}

void Runtime::suspend() {
  scheduler_ = std::move(scheduler_).resume();
}

void Runtime::wake(Fiber& fiber, Duration delay) {
  push({.time = time_ + delay,
        .order = 0,
        .process = fiber.process,
        .fiber = &fiber,
        .wait_number = fiber.wait_number,
        .function = {}});
}

Runtime::FiberId Runtime::start_thread(std::function<void()> body) {
  OCTET_CHECK(on_fiber(), "a thread outside of all processes");
  Fiber* fiber = idle_fiber();
  fiber->process = process();
  fiber->body = std::move(body);
  fiber->ended = false;
  fiber->thread = next_thread_++;
  threads_[fiber->thread] = fiber;
  wake(*fiber, between(Duration(0), kMaxWakeDelay));
  return fiber->thread;
}

void Runtime::join_thread(FiberId id) {
  Fiber* fiber = threads_.at(id);
  while (!fiber->ended) {
    fiber->joiner = running_;
    suspend();
  }
  threads_.erase(id);
  fiber->thread = 0;
  idle_.push_back(fiber);
}

void Runtime::detach_thread(FiberId id) {
  threads_.at(id)->detached = true;
}

void Runtime::wait(const void* condition, std::optional<Time> deadline) {
  OCTET_CHECK(on_fiber(), "a wait outside of all processes");
  waiting_[condition].emplace_back(running_, running_->wait_number);
  running_->timed = deadline.has_value();
  if (deadline) wake(*running_, world_time(*process(), *deadline) - time_);
  suspend();
  running_->timed = false;
  const auto found = waiting_.find(condition);
  if (found == waiting_.end()) return;
  std::erase_if(found->second, [this](const auto& waiter) { return waiter.first == running_; });
  if (found->second.empty()) waiting_.erase(found);
}

void Runtime::notify(const void* condition, bool all) {
  const auto found = waiting_.find(condition);
  if (found == waiting_.end()) return;
  auto& waiters = found->second;
  while (!waiters.empty()) {
    const size_t chosen = between(0, waiters.size() - 1);
    const auto [fiber, wait_number] = waiters[chosen];
    waiters.erase(waiters.begin() + static_cast<ptrdiff_t>(chosen));
    if (fiber->wait_number == wait_number) wake(*fiber, between(Duration(0), kMaxWakeDelay));
    if (!all) break;
  }
  if (waiters.empty()) waiting_.erase(found);
}

void Runtime::sleep_until(Time deadline) {
  const int unshared = 0;
  while (process_time() < deadline) wait(&unshared, deadline);
}

void Runtime::set_loop_timer(int fd, std::optional<Time> deadline) {
  LoopTimer& timer = loop_timers_[fd];
  timer.process = process();
  timer.deadline = deadline;
  schedule_loop_timer(fd);
}

void Runtime::schedule_loop_timer(int fd) {
  LoopTimer& timer = loop_timers_.at(fd);
  const uint64_t number = ++timer.number;
  if (!timer.deadline) return;
  at(world_time(*timer.process, *timer.deadline), timer.process, [this, fd, number] {
    const auto found = loop_timers_.find(fd);
    if (found == loop_timers_.end() || found->second.number != number) return;
    found->second.deadline.reset();
    eventfd_write(fd, 1);
    process()->poll_loop();
  });
}

void Runtime::freeze(const ProcessPtr& process) {
  process->frozen = true;
  ++process->num_freezes;
}

void Runtime::thaw(const ProcessPtr& process) {
  if (!process->frozen) return;
  process->frozen = false;
  std::vector<std::pair<Process*, Event>> others;
  uint64_t order = 0;
  for (auto& [of, event] : held_) {
    if (of != process.get()) {
      others.emplace_back(of, std::move(event));
      continue;
    }
    event.time = time_;
    event.order = order++;  // as they came
    events_.push(std::move(event));
  }
  held_ = std::move(others);
}

void Runtime::leap(const ProcessPtr& process, Duration by) {
  process->clock_offset += by;
  for (const auto& fiber : fibers_) {
    if (fiber->process == process && fiber->timed) wake(*fiber, Duration(0));
  }
  for (auto& [fd, timer] : loop_timers_) {
    if (timer.process == process) schedule_loop_timer(fd);
  }
}

}  // namespace octet::simulation
