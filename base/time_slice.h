// Threads that wake often and run shortly, as against those that compute for milliseconds.
#pragma once

namespace octet {

// Asks the kernel to run this thread, and those that it starts later, soon after they wake and in short
// slices, also when all cores compute. Linux 6.12 and newer do; older ones ignore it, and nothing else
// depends on it.
void request_short_time_slices();

}  // namespace octet
