#include "base/stop_signal.h"

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <thread>

namespace octet {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

StopSignal::StopSignal() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int StopSignal::wait(Time deadline) {
  const sigset_t set = stop_signals();
  for (;;) {
    const auto left = deadline == kNoDeadline ? std::chrono::nanoseconds(std::chrono::hours(1))
                                              : std::max(deadline - now(), Duration::zero());
    timespec timeout{};
    timeout.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(left).count();
    timeout.tv_nsec = (left % std::chrono::seconds(1)).count();
    const int signal_number = sigtimedwait(&set, nullptr, &timeout);
    if (signal_number > 0) {
      std::thread([set] {  // the second signal means now
        int again = 0;
        sigwait(&set, &again);
        std::_Exit(128 + again);
      })
          .detach();
      return signal_number;
    }
    if (deadline != kNoDeadline && now() >= deadline) return 0;
  }
}

}  // namespace octet
