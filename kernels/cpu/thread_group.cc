#include "kernels/cpu/thread_group.h"

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>

namespace octet::kernels {
namespace {

// Longer than other threads usually lag behind and than the calling thread does between two calls of a step.
constexpr int kSpinsWithOwnCpu = 1000;
// Pieces of a thread's part: what is left for others to take when it is late.
constexpr int64_t kPiecesPerPart = 8;

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
    : num_threads_(num_threads),
      num_spins_(own_cpus ? kSpinsWithOwnCpu : 0),
      parts_(std::make_unique<Part[]>(static_cast<size_t>(num_threads))) {
  threads_.reserve(static_cast<size_t>(num_threads - 1));
  for (int thread = 1; thread < num_threads; ++thread) {
    threads_.emplace_back([this, thread] { serve(thread); });
    if (!cpus.empty()) pin(threads_.back(), cpus[static_cast<size_t>(thread)]);
  }
}

ThreadGroup::~ThreadGroup() {
  job_ = {};
  num_calls_.fetch_add(1, std::memory_order_release);
  num_calls_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadGroup::run_parts(const Job& job) {
  divide(job);
  job_ = job;
  const uint32_t call = num_calls_.load(std::memory_order_relaxed) + 1;
  num_calls_.store(call, std::memory_order_release);
  num_calls_.notify_all();
  take_pieces(0);
  for (int thread = 1; thread < num_threads_; ++thread) {
    wait_for_change(parts_[static_cast<size_t>(thread)].num_done, call - 1);
  }
}

// All threads are waiting for the next call, so nobody reads the parts.
void ThreadGroup::divide(const Job& job) {
  const int64_t num_parts = std::min<int64_t>(num_threads_, job.num_items / job.min_part);
  for (int64_t thread = 0; thread < num_threads_; ++thread) {
    Part& part = parts_[static_cast<size_t>(thread)];
    const int64_t first = std::min(job.num_items * thread / num_parts, job.num_items);
    part.end = std::min(job.num_items * (thread + 1) / num_parts, job.num_items);
    part.piece = std::max<int64_t>(1, (part.end - first) / kPiecesPerPart);
    part.next.store(first, std::memory_order_relaxed);
  }
}

void ThreadGroup::take_pieces(int thread) {
  for (int i = 0; i < num_threads_; ++i) {
    Part& part = parts_[static_cast<size_t>((thread + i) % num_threads_)];
    while (part.next.load(std::memory_order_relaxed) < part.end) {
      const int64_t first = part.next.fetch_add(part.piece, std::memory_order_relaxed);
      if (first >= part.end) break;
      job_.call(job_.function, first, std::min(first + part.piece, part.end), thread);
    }
  }
}

void ThreadGroup::wait_for_change(const std::atomic<uint32_t>& counter, uint32_t known) const {
  for (int i = 0; i < num_spins_; ++i) {
    if (counter.load(std::memory_order_acquire) != known) return;
    _mm_pause();
  }
  counter.wait(known, std::memory_order_acquire);
}

void ThreadGroup::serve(int thread) {
  std::atomic<uint32_t>& num_done = parts_[static_cast<size_t>(thread)].num_done;
  for (uint32_t known = 0;; ++known) {
    wait_for_change(num_calls_, known);
    if (job_.call == nullptr) return;
    take_pieces(thread);
    num_done.store(known + 1, std::memory_order_release);
    num_done.notify_all();
  }
}

}  // namespace octet::kernels
