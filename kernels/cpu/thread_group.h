// The compute threads of one rank. The calling thread is one of them; with a group of one nothing is started
// and a call is a plain function call.
#pragma once

#include <cstdint>
#include <thread>
#include <vector>

#include "kernels/cpu/barrier.h"

namespace octet::kernels {

class ThreadGroup {
 public:
  // own_cpus: see Barrier. cpus: [num_threads] where the threads
  // run, or empty. The calling thread is not pinned: threads that it starts later would inherit that.
  ThreadGroup(int num_threads, bool own_cpus, const std::vector<int>& cpus);
  ~ThreadGroup();
  ThreadGroup(const ThreadGroup&) = delete;
  ThreadGroup& operator=(const ThreadGroup&) = delete;

  int num_threads() const { return num_threads_; }

  // Calls function(first, last, thread) for contiguous parts that cover [0, num_items), each at least
  // min_part items, on different threads; returns when all are done. function does not throw.
  template <typename Function>
  void run(int64_t num_items, int64_t min_part, const Function& function) {
    if (num_threads_ == 1 || num_items < 2 * min_part) {
      function(int64_t{0}, num_items, 0);
      return;
    }
    run_parts({&call<Function>, &function, num_items, min_part});
  }

 private:
  struct Job {
    void (*call)(const void* function, int64_t first, int64_t last,
                 int thread) = nullptr;  // nullptr: time to end
    const void* function = nullptr;
    int64_t num_items = 0;
    int64_t min_part = 1;
  };

  template <typename Function>
  static void call(const void* function, int64_t first, int64_t last, int thread) {
    (*static_cast<const Function*>(function))(first, last, thread);
  }
  void run_parts(const Job& job);
  void do_part(int thread) const;
  void serve(int thread);

  const int num_threads_;
  Barrier begin_;
  Barrier end_;
  Job job_;  // written by the calling thread before begin_
  std::vector<std::thread> threads_;
};

}  // namespace octet::kernels
