// The compute threads of one rank. The calling thread is one of them; with a group of one nothing is started
// and a call is a plain function call.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace octet::kernels {

class ThreadGroup {
 public:
  // own_cpus: whether all threads of the stage can run at the same time; waiting then spins before it sleeps.
  // cpus: [num_threads] where the threads run, or empty. The calling thread is not pinned: threads that it
  // starts later would inherit that.
  ThreadGroup(int num_threads, bool own_cpus, const std::vector<int>& cpus);
  ~ThreadGroup();
  ThreadGroup(const ThreadGroup&) = delete;
  ThreadGroup& operator=(const ThreadGroup&) = delete;

  int num_threads() const { return num_threads_; }

  // Calls function(first, last, thread) for pieces that cover [0, num_items), from several threads; returns
  // when all are done. Each thread has a contiguous part of at least min_part items, the same one in every
  // call with these numbers, and takes it piece by piece; one that is done helps the others. function does
  // not throw.
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

  // What one thread shares with the others, on cache lines of its own.
  struct alignas(64) Part {
    std::atomic<int64_t> next{0};  // the first item that nobody took yet
    int64_t end = 0;
    int64_t piece = 1;                  // items taken at once
    std::atomic<uint32_t> num_done{0};  // calls that the thread has finished
  };

  template <typename Function>
  static void call(const void* function, int64_t first, int64_t last, int thread) {
    (*static_cast<const Function*>(function))(first, last, thread);
  }
  void run_parts(const Job& job);
  void divide(const Job& job);
  void take_pieces(int thread);
  void wait_for_change(const std::atomic<uint32_t>& counter, uint32_t known) const;
  void serve(int thread);

  const int num_threads_;
  const int num_spins_;
  Job job_;                              // written by the calling thread before num_calls_
  const std::unique_ptr<Part[]> parts_;  // [num_threads]
  alignas(64) std::atomic<uint32_t> num_calls_{0};
  std::vector<std::thread> threads_;
};

}  // namespace octet::kernels
