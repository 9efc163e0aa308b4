#include "kernels/cuda/deadline.h"

#include <cstdio>
#include <cstdlib>
#include <thread>

namespace octet::kernels::cuda {

void end_process(const std::string& line) {
  std::fprintf(stderr, "%s\n", line.c_str());
  std::_Exit(1);
}

void wait_until(const std::function<bool()>& is_done, Timeout timeout,
                const std::function<std::string()>& what) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point began = Clock::now();
  while (!is_done()) {
    const Timeout waited = Clock::now() - began;
    if (waited > timeout) {
      const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(waited).count();
      end_process(what() + " for " + std::to_string(milliseconds) + " ms; the process ends");
    }
    std::this_thread::yield();
  }
}

}  // namespace octet::kernels::cuda
