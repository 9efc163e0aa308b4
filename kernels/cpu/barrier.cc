#include "kernels/cpu/barrier.h"

#include <immintrin.h>

namespace octet::kernels {
namespace {

// A few tens of microseconds: longer than the ranks' usual lag behind each other, shorter than anyone would
// notice.
constexpr int kSpinsWithOwnCore = 1000;

}  // namespace

Barrier::Barrier(int num_threads, bool own_cpus)
    : num_threads_(static_cast<uint32_t>(num_threads)), num_spins_(own_cpus ? kSpinsWithOwnCore : 0) {}

void Barrier::arrive_and_wait() {
  if (num_threads_ == 1) return;
  const uint32_t phase = phase_.load(std::memory_order_relaxed);  // cannot change before this thread arrives
  if (num_arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == num_threads_) {
    num_arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    phase_.notify_all();
    return;
  }
  for (int i = 0; i < num_spins_; ++i) {
    if (phase_.load(std::memory_order_acquire) != phase) return;
    _mm_pause();
  }
  phase_.wait(phase, std::memory_order_acquire);
}

}  // namespace octet::kernels
