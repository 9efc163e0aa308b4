#include "kernels/cpu/thread_group.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>

namespace octet::kernels {
namespace {

// A CPU that the process may no longer use leaves the thread where it is.
void pin(std::thread& thread, int cpu) {
  if (cpu >= CPU_SETSIZE) return;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(cpu, &mask);
  pthread_setaffinity_np(thread.native_handle(), sizeof mask, &mask);
}

}  // namespace

ThreadGroup::ThreadGroup(int num_threads, bool own_cpus, const std::vector<int>& cpus)
    : num_threads_(num_threads), begin_(num_threads, own_cpus), end_(num_threads, own_cpus) {
  threads_.reserve(static_cast<size_t>(num_threads - 1));
  for (int thread = 1; thread < num_threads; ++thread) {
    threads_.emplace_back([this, thread] { serve(thread); });
    if (!cpus.empty()) pin(threads_.back(), cpus[static_cast<size_t>(thread)]);
  }
}

ThreadGroup::~ThreadGroup() {
  job_ = {};
  begin_.arrive_and_wait();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadGroup::run_parts(const Job& job) {
  job_ = job;
  begin_.arrive_and_wait();
  do_part(0);
  end_.arrive_and_wait();
}

void ThreadGroup::do_part(int thread) const {
  const int64_t num_parts = std::min<int64_t>(num_threads_, job_.num_items / job_.min_part);
  if (thread >= num_parts) return;
  job_.call(job_.function, job_.num_items * thread / num_parts, job_.num_items * (thread + 1) / num_parts,
            thread);
}

void ThreadGroup::serve(int thread) {
  while (true) {
    begin_.arrive_and_wait();
    if (job_.call == nullptr) return;
    do_part(thread);
    end_.arrive_and_wait();
  }
}

}  // namespace octet::kernels
