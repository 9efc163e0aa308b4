// The last check of a sequence before it is taken: what is refused here can never run, whatever else runs.
// The router has checked most of it before; the lead does not rely on that.
#pragma once

#include <optional>

#include "worker/lead/scheduler_types.h"

namespace octet::worker {

// Why the sequence can never run under this configuration, or nothing. The message names the field as
// proto/octet/v1/pipeline.proto does.
std::optional<Refusal> refuse_invalid(const NewSequence& sequence, const SchedulerConfig& config);

}  // namespace octet::worker
