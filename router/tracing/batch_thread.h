// A thread that hands on in batches what others give it, so that they never wait for a file or a network.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "router/tracing/batch_queue.h"

namespace octet::router {

template <typename Item>
class BatchThread {
 public:
  // consume: runs on the thread, a batch at a time; never empty.
  using Consume = std::function<void(std::vector<Item> batch)>;

  BatchThread(const BatchLimits& limits, Consume consume)
      : queue_(limits), consume_(std::move(consume)), thread_([this] { run(); }) {}

  // Hands on what waits, and ends.
  ~BatchThread() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  BatchThread(const BatchThread&) = delete;
  BatchThread& operator=(const BatchThread&) = delete;

  // From any thread. False when too many wait: the item is lost.
  bool push(Item item) {
    bool wakes = false;
    {
      const std::lock_guard lock(mutex_);
      const auto before = queue_.due();
      if (!queue_.push(std::move(item), now())) return false;
      wakes = queue_.due() != before;
    }
    if (wakes) changed_.notify_one();
    return true;
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      const auto due = queue_.due();
      if (!due && ending_) return;
      if (!due) {
        changed_.wait(lock);
      } else if (!ending_ && *due > now()) {
        changed_.wait_until(lock, *due);
      } else {
        std::vector<Item> batch = queue_.take();
        lock.unlock();
        consume_(std::move(batch));
        lock.lock();
      }
    }
  }

  std::mutex mutex_;  // guards what follows
  BatchQueue<Item> queue_;
  bool ending_ = false;
  std::condition_variable changed_;
  const Consume consume_;
  std::thread thread_;  // the last: it uses all of these
};

}  // namespace octet::router
