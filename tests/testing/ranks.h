// The ranks of a stage as threads of a test.
#pragma once

#include <thread>
#include <vector>

namespace octet::testing {

// Calls function(rank) for rank 0 .. num_ranks - 1, each on a thread of its own; returns when all have
// returned.
template <typename Function>
void run_ranks(int num_ranks, const Function& function) {
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(num_ranks));
  for (int rank = 0; rank < num_ranks; ++rank) threads.emplace_back([&function, rank] { function(rank); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace octet::testing
