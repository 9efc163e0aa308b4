// SIGINT and SIGTERM as a value that main waits for.
#pragma once

#include "base/clock.h"

namespace octet {

// Blocks SIGINT, SIGTERM and SIGPIPE in this thread and all threads that it starts later; make one at the
// start of main, before any thread. A second signal after the first was returned by wait() ends the process
// at once.
class StopSignal {
 public:
  StopSignal();

  // Returns the signal's number when one arrives, or 0 when the deadline passes first.
  int wait(Time deadline = kNoDeadline);
};

}  // namespace octet
