// The functions of the C and C++ libraries through which code under test would meet real time, real threads
// and real randomness. A program that links this file has these instead of the libraries' own, in all its
// parts and in the libraries too (the dynamic linker looks here first). On a fiber of a simulated process
// they belong to the Runtime; elsewhere they are the real ones.
//
// Mutexes are left alone: fibers switch only where they wait, and nothing waits with a mutex locked but for
// the one that it gives to its condition variable.
#include <dlfcn.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <set>

#include "tests/simulation/runtime.h"

namespace {

using octet::Duration;
using octet::Time;
using octet::simulation::Runtime;

template <typename Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

Runtime* runtime() {
  Runtime* const current = Runtime::current();
  return current != nullptr && current->on_fiber() ? current : nullptr;
}

Duration to_duration(const timespec& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// File descriptors that stand in for timers; the event loop waits for them as for any other.
std::set<int>& timers() {
  static auto* const fds = new std::set<int>();
  return *fds;
}

int wait(pthread_cond_t* condition, pthread_mutex_t* mutex, std::optional<Time> deadline) {
  pthread_mutex_unlock(mutex);
  runtime()->wait(condition, deadline);
  pthread_mutex_lock(mutex);
  return deadline && runtime()->process_time() >= *deadline ? ETIMEDOUT : 0;
}

}  // namespace

std::chrono::steady_clock::time_point std::chrono::steady_clock::now() noexcept {
  if (Runtime* const current = Runtime::current()) return current->process_time();
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time_point(to_duration(time));
}

std::chrono::system_clock::time_point std::chrono::system_clock::now() noexcept {
  if (Runtime* const current = Runtime::current())
    return time_point(current->process_time().time_since_epoch());
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return time_point(to_duration(time));
}

void std::random_device::_M_init(const std::string&) {}
void std::random_device::_M_fini() {}
std::random_device::result_type std::random_device::_M_getval() {
  if (Runtime* const current = Runtime::current()) return static_cast<result_type>(current->random()());
  result_type value = 0;
  if (getentropy(&value, sizeof value) != 0) value = 0;
  return value;
}

extern "C" {

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*function)(void*),
                   void* argument) {
  static auto* const real_create = real<decltype(pthread_create)>("pthread_create");
  if (runtime() == nullptr) return real_create(thread, attributes, function, argument);
  *thread = runtime()->start_thread([function, argument] { function(argument); });
  return 0;
}

int pthread_join(pthread_t thread, void** result) {
  static auto* const real_join = real<decltype(pthread_join)>("pthread_join");
  if (runtime() == nullptr) return real_join(thread, result);
  runtime()->join_thread(thread);
  return 0;
}

int pthread_detach(pthread_t thread) noexcept {
  static auto* const real_detach = real<decltype(pthread_detach)>("pthread_detach");
  if (runtime() == nullptr) return real_detach(thread);
  runtime()->detach_thread(thread);
  return 0;
}

int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  static auto* const real_wait = real<decltype(pthread_cond_wait)>("pthread_cond_wait");
  return runtime() == nullptr ? real_wait(condition, mutex) : wait(condition, mutex, std::nullopt);
}

int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* deadline) {
  static auto* const real_wait = real<decltype(pthread_cond_timedwait)>("pthread_cond_timedwait");
  if (runtime() == nullptr) return real_wait(condition, mutex, deadline);
  return wait(condition, mutex, Time(to_duration(*deadline)));
}

int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const timespec* deadline) {
  static auto* const real_wait = real<decltype(pthread_cond_clockwait)>("pthread_cond_clockwait");
  if (runtime() == nullptr) return real_wait(condition, mutex, clock, deadline);
  return wait(condition, mutex, Time(to_duration(*deadline)));
}

int pthread_cond_signal(pthread_cond_t* condition) noexcept {
  static auto* const real_signal = real<decltype(pthread_cond_signal)>("pthread_cond_signal");
  if (runtime() == nullptr) return real_signal(condition);
  runtime()->notify(condition, false);
  return 0;
}

int pthread_cond_broadcast(pthread_cond_t* condition) noexcept {
  static auto* const real_broadcast = real<decltype(pthread_cond_broadcast)>("pthread_cond_broadcast");
  if (runtime() == nullptr) return real_broadcast(condition);
  runtime()->notify(condition, true);
  return 0;
}

int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* left) {
  static auto* const real_sleep = real<decltype(clock_nanosleep)>("clock_nanosleep");
  if (runtime() == nullptr) return real_sleep(clock, flags, time, left);
  const bool absolute = (flags & TIMER_ABSTIME) != 0;
  runtime()->sleep_until(absolute ? Time(to_duration(*time))
                                  : runtime()->process_time() + to_duration(*time));
  return 0;
}

int nanosleep(const timespec* time, timespec* left) {
  return clock_nanosleep(CLOCK_MONOTONIC, 0, time, left);
}

int timerfd_create(int clock, int flags) noexcept {
  static auto* const real_create = real<decltype(timerfd_create)>("timerfd_create");
  if (runtime() == nullptr) return real_create(clock, flags);
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd >= 0) timers().insert(fd);
  return fd;
}

// The next expiry of an event loop. Readable from the moment on that the Runtime says so, which is when the
// loop is polled, until it is set again.
int timerfd_settime(int fd, int flags, const itimerspec* time, itimerspec* before) noexcept {
  static auto* const real_settime = real<decltype(timerfd_settime)>("timerfd_settime");
  if (!timers().contains(fd)) return real_settime(fd, flags, time, before);
  eventfd_t value = 0;
  eventfd_read(fd, &value);
  const Duration until = to_duration(time->it_value);
  if (until == Duration(0)) {
    runtime()->set_loop_timer(fd, std::nullopt);
  } else {
    const bool absolute = (flags & TFD_TIMER_ABSTIME) != 0;
    runtime()->set_loop_timer(fd, absolute ? Time(until) : runtime()->process_time() + until);
  }
  return 0;
}

int close(int fd) {
  static auto* const real_close = real<decltype(close)>("close");
  if (timers().erase(fd) > 0 && Runtime::current() != nullptr) Runtime::current()->forget_loop_timer(fd);
  return real_close(fd);
}

}  // extern "C"
