// Runs a function on threads that begin together, and takes the time until the last one ends.
#pragma once

#include <functional>

namespace octet::bench {

// Calls work(thread) for each thread in [0, num_threads), thread t kept on the t-th CPU that the process may
// use (counted round). Seconds from the common start to the last end.
double seconds_of_parallel(int num_threads, const std::function<void(int thread)>& work);

}  // namespace octet::bench
