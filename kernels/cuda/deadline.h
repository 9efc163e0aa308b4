// Waits for what may never answer: a device, or NCCL on its way to other devices. Where nothing answers, the
// process ends: neither memory nor streams of such a device can be given back, and the pipeline forms anew
// without the process, or with the one that follows it.
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace octet::kernels::cuda {

using Timeout = std::chrono::steady_clock::duration;

// Prints the line to stderr and exits with 1; nothing is tidied, for that would wait too.
[[noreturn]] void end_process(const std::string& line);

// Calls is_done() until it is true. After the timeout the process ends with what() and how long that took.
void wait_until(const std::function<bool()>& is_done, Timeout timeout,
                const std::function<std::string()>& what);

}  // namespace octet::kernels::cuda
