#include "base/time_slice.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace octet {
namespace {

constexpr uint64_t kShortSliceNs = 100'000;  // the least that the kernel takes

// As sched_setattr(2) says; Debian 12's C library has neither the call nor a header that goes with its own
// <sched.h>.
struct SchedulingAttributes {
  uint32_t size = sizeof(SchedulingAttributes);
  uint32_t policy = 0;  // 0: SCHED_OTHER, the ordinary one
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0;  // of an ordinary thread: its slice
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};

}  // namespace

void request_short_time_slices() {
  SchedulingAttributes attributes;  // what the process was started with, such as its nice value, stays
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != 0) return;
  attributes.runtime_ns = kShortSliceNs;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace octet
