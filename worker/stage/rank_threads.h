// One thread for each rank of a stage, kept between steps.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace octet::worker {

class RankThreads {
 public:
  explicit RankThreads(int num_ranks);
  ~RankThreads();
  RankThreads(const RankThreads&) = delete;
  RankThreads& operator=(const RankThreads&) = delete;

  // Calls work(rank) for every rank, each on its own thread, rank 0 on the calling one; returns when all have
  // returned. work does not throw. One call at a time.
  void run(const std::function<void(int rank)>& work);

 private:
  void serve(int rank);

  std::mutex mutex_;
  std::condition_variable started_;
  std::condition_variable finished_;
  const std::function<void(int)>* work_ = nullptr;  // nullptr: time to end
  uint64_t num_runs_ = 0;
  int num_running_ = 0;
  std::vector<std::thread> threads_;  // of ranks 1 ..
};

}  // namespace octet::worker
