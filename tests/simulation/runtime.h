// One virtual clock and everything that runs on it: the fibers that stand in for the threads of all simulated
// processes. One operating system thread, no real time, and one source of randomness: two runs of a seed are
// the same.
//
// Code under test needs to know nothing of this: interpose.cc gives it the clock, the threads, the condition
// variables, the timers and the random numbers of the process that it runs in.
#pragma once

#include <boost/context/fiber.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"

namespace octet::simulation {

class Runtime;

// One life of one simulated process.
struct Process {
  std::string name;
  int machine = 0;      // for the network
  bool alive = true;    // false: it is being taken down, and nobody hears of it any more
  bool frozen = false;  // SIGSTOP: nothing of it runs until it goes on
  uint64_t num_freezes = 0;
  // What its clock shows beside the world's: a constant, and parts in a million.
  Duration clock_offset{};
  double clock_drift_ppm = 0;
  // Turns its event loop, when it has one: after each of its timers.
  std::function<void()> poll_loop;
};
using ProcessPtr = std::shared_ptr<Process>;

class Runtime {
 public:
  explicit Runtime(uint64_t seed);
  ~Runtime();
  // The one that is alive, or null.
  static Runtime* current();

  // The world's clock, which no process sees.
  Duration time() const { return time_; }
  // What the clock of the process shows that runs now, or of another one.
  Time process_time() const { return process_time(process().get()); }
  Time process_time(const Process* process) const;

  std::mt19937_64& random() { return random_; }
  // In [low, high].
  uint64_t between(uint64_t low, uint64_t high);
  Duration between(Duration low, Duration high);
  bool chance(double probability);

  // Calls f on a fiber of the process; f may block. Not at all when the process is not alive then; later when
  // it is frozen. process: null for the world itself.
  void at(Duration time, ProcessPtr process, std::function<void()> f);
  void after(Duration delay, ProcessPtr process, std::function<void()> f) {
    at(time_ + delay, std::move(process), std::move(f));
  }
  // The same, dead or alive: for the end of a process.
  void at_the_end_of(ProcessPtr process, std::function<void()> f);

  // Runs what is next. False when there is nothing.
  bool step();
  // Until there is nothing to do before that time, which it is then.
  void run_until(Duration time);

  void freeze(const ProcessPtr& process);
  void thaw(const ProcessPtr& process);
  // The process' clock leaps ahead.
  void leap(const ProcessPtr& process, Duration by);

  // A number that two runs share exactly when they did the same.
  uint64_t digest() const { return digest_; }
  uint64_t num_events() const { return num_events_; }
  // That have begun and not ended.
  size_t num_fibers_at_work() const { return fibers_.size() - idle_.size(); }
  // Mixes a number into the digest.
  void note(uint64_t value);

  // What interpose.cc calls, on a fiber.

  using FiberId = uint64_t;
  bool on_fiber() const { return running_ != nullptr; }
  const ProcessPtr& process() const;  // of the running fiber
  FiberId start_thread(std::function<void()> body);
  void join_thread(FiberId id);
  void detach_thread(FiberId id);
  // Waits until notified, or until the process' clock shows the deadline; may return for no reason.
  void wait(const void* condition, std::optional<Time> deadline);
  void notify(const void* condition, bool all);
  void sleep_until(Time deadline);
  // The process' loop has its next timer then; none: no timer.
  void set_loop_timer(int fd, std::optional<Time> deadline);
  void forget_loop_timer(int fd) { loop_timers_.erase(fd); }

 private:
  struct Fiber;
  struct Event {
    Duration time;
    uint64_t order;  // among events of one time: random
    ProcessPtr process;
    bool even_if_dead = false;
    Fiber* fiber = nullptr;  // to go on with, while its wait is this one
    uint64_t wait_number = 0;
    std::function<void()> function;  // to start
    bool operator<(const Event& other) const {
      return time != other.time ? time > other.time : order > other.order;
    }
  };
  struct LoopTimer {
    ProcessPtr process;
    std::optional<Time> deadline;
    uint64_t number = 0;
  };

  void push(Event event);
  void run(Fiber& fiber);
  void suspend();
  void wake(Fiber& fiber, Duration delay);
  void schedule_loop_timer(int fd);
  Fiber* idle_fiber();
  Duration world_time(const Process& process, Time shown) const;

  static Runtime* current_;
  std::mt19937_64 random_;
  Duration time_{};
  std::priority_queue<Event> events_;
  std::vector<std::pair<Process*, Event>> held_;  // of frozen processes, in order
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Fiber* running_ = nullptr;
  boost::context::fiber scheduler_;  // while a fiber runs
  std::unordered_map<const void*, std::vector<std::pair<Fiber*, uint64_t>>> waiting_;
  std::unordered_map<FiberId, Fiber*> threads_;
  FiberId next_thread_ = 1;
  std::unordered_map<int, LoopTimer> loop_timers_;
  uint64_t digest_ = 0;
  uint64_t num_events_ = 0;
};

}  // namespace octet::simulation
