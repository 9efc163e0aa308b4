#include "kernels/cpu/thread_group.h"

#include <algorithm>

namespace octet::kernels {

ThreadGroup::ThreadGroup(int num_threads, int num_busy_threads)
    : num_threads_(num_threads), begin_(num_threads, num_busy_threads), end_(num_threads, num_busy_threads) {
  threads_.reserve(static_cast<size_t>(num_threads - 1));
  for (int thread = 1; thread < num_threads; ++thread)
    threads_.emplace_back([this, thread] { serve(thread); });
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
