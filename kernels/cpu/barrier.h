// A barrier for the threads of a stage. Unlike std::barrier it knows how long spinning can pay off: not at
// all where there are more threads than cores.
#pragma once

#include <atomic>
#include <cstdint>

namespace octet::kernels {

class Barrier {
 public:
  // num_threads threads meet here. own_cpus: whether all threads of the stage can run at the same time.
  Barrier(int num_threads, bool own_cpus);

  // Returns when all have called it. What a thread did before is visible to all after.
  void arrive_and_wait();

 private:
  const uint32_t num_threads_;
  const int num_spins_;
  alignas(64) std::atomic<uint32_t> num_arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
};

}  // namespace octet::kernels
