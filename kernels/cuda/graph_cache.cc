#include "kernels/cuda/graph_cache.h"

#include <algorithm>

#include "kernels/cuda/launch.h"

namespace octet::kernels::cuda {
namespace {

constexpr size_t kMaxEntries = 256;  // a graph takes device memory, about a megabyte of a large model

}  // namespace

GraphCache::~GraphCache() {
  for (const auto& [fingerprint, entry] : entries_) {
    if (entry.graph != nullptr) cudaGraphExecDestroy(entry.graph);
  }
}

void GraphCache::run(const std::function<void()>& step) {
  queue_.start_dry_run();
  step();
  const uint64_t fingerprint = queue_.end_dry_run();
  const bool is_known = entries_.contains(fingerprint);
  if (!is_known && entries_.size() == kMaxEntries) forget_oldest();
  Entry& entry = entries_[fingerprint];
  entry.last_use = ++num_uses_;
  if (!is_known) return step();
  if (entry.graph == nullptr) entry.graph = capture(step);
  check(cudaGraphLaunch(entry.graph, queue_.stream()), "cudaGraphLaunch");
  ++num_replays_;
}

cudaGraphExec_t GraphCache::capture(const std::function<void()>& step) {
  check(cudaStreamBeginCapture(queue_.stream(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  step();
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(queue_.stream(), &graph), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  cudaGraphDestroy(graph);
  return executable;
}

void GraphCache::forget_oldest() {
  const auto oldest = std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
    return a.second.last_use < b.second.last_use;
  });
  if (oldest->second.graph != nullptr) cudaGraphExecDestroy(oldest->second.graph);
  entries_.erase(oldest);
}

}  // namespace octet::kernels::cuda
