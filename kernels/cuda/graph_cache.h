// Steps that put the same on the stream as one before, as graphs: one call in the place of thousands of
// launches.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <map>

namespace octet::kernels::cuda {

class Queue;

class GraphCache {
 public:
  explicit GraphCache(Queue& queue) : queue_(queue) {}
  ~GraphCache();
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  // Runs the step dry, and then as it is the first time that it would put just this on the stream, as a graph
  // from the second on. What a step copies to the device it copies in the dry run; later runs of it find
  // nothing to copy.
  void run(const std::function<void()>& step);

  // Graphs launched so far.
  int64_t num_replays() const { return num_replays_; }

 private:
  struct Entry {
    cudaGraphExec_t graph = nullptr;  // once seen twice
    uint64_t last_use = 0;
  };
  cudaGraphExec_t capture(const std::function<void()>& step);
  void forget_oldest();

  Queue& queue_;
  std::map<uint64_t, Entry> entries_;  // by fingerprint
  uint64_t num_uses_ = 0;
  int64_t num_replays_ = 0;
};

}  // namespace octet::kernels::cuda
