// How often a test program took memory by operator new, which linking this file replaces.
#pragma once

#include <cstdint>

namespace octet::testing {

// Since the program's start, on every thread.
int64_t count_allocations();

}  // namespace octet::testing
