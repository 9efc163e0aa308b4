#include "tools/bench/machine/parallel.h"

#include <pthread.h>
#include <sched.h>

#include <barrier>
#include <chrono>
#include <thread>
#include <vector>

namespace octet::bench {
namespace {

std::vector<int> usable_cpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

void stay_on(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  // Where it is refused the figure is only less steady.
  (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

}  // namespace

double seconds_of_parallel(int num_threads, const std::function<void(int thread)>& work) {
  using Clock = std::chrono::steady_clock;
  const std::vector<int> cpus = usable_cpus();
  std::barrier begin(num_threads);
  std::vector<Clock::time_point> begins(static_cast<size_t>(num_threads));
  std::vector<Clock::time_point> ends(static_cast<size_t>(num_threads));
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < num_threads; ++t) {
      threads.emplace_back([&, t] {
        const auto index = static_cast<size_t>(t);
        if (!cpus.empty()) stay_on(cpus[index % cpus.size()]);
        begin.arrive_and_wait();
        begins[index] = Clock::now();
        work(t);
        ends[index] = Clock::now();
      });
    }
  }
  Clock::time_point first = begins.front();
  Clock::time_point last = ends.front();
  for (const Clock::time_point time : begins) first = std::min(first, time);
  for (const Clock::time_point time : ends) last = std::max(last, time);
  return std::chrono::duration<double>(last - first).count();
}

}  // namespace octet::bench
