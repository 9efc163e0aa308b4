#include "worker/stage/rank_threads.h"

namespace octet::worker {

RankThreads::RankThreads(int num_ranks) {
  for (int rank = 1; rank < num_ranks; ++rank) threads_.emplace_back([this, rank] { serve(rank); });
}

RankThreads::~RankThreads() {
  {
    const std::scoped_lock lock(mutex_);
    work_ = nullptr;
    ++num_runs_;
  }
  started_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void RankThreads::run(const std::function<void(int)>& work) {
  {
    const std::scoped_lock lock(mutex_);
    work_ = &work;
    num_running_ = static_cast<int>(threads_.size());
    ++num_runs_;
  }
  started_.notify_all();
  work(0);
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [this] { return num_running_ == 0; });
}

void RankThreads::serve(int rank) {
  uint64_t num_done = 0;
  while (true) {
    const std::function<void(int)>* work = nullptr;
    {
      std::unique_lock lock(mutex_);
      started_.wait(lock, [&] { return num_runs_ != num_done; });
      num_done = num_runs_;
      work = work_;
    }
    if (work == nullptr) return;
    (*work)(rank);
    const std::scoped_lock lock(mutex_);
    if (--num_running_ == 0) finished_.notify_one();
  }
}

}  // namespace octet::worker
