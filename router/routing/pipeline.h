// What generation needs of the pipelines: one with room for a request, start its sequences there, end them
// early, and hear what happens to them. Event loop only, callbacks included. Tests of generation put a
// scripted one in its place.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "router/request/validated_request.h"

namespace octet::v1 {
class SequenceOutput;
class StartSequence;
}  // namespace octet::v1

namespace octet::router {

// Hears of one sequence. Stays valid until its last call or until the sequence is cancelled.
class SequenceEvents {
 public:
  virtual ~SequenceEvents() = default;
  // News from the lead. The last call when it has a finish_reason or an error_code.
  virtual void on_output(const v1::SequenceOutput& output) = 0;
  // The pipeline went away, and the sequence with it; always the last call. UNAVAILABLE with a retry hint.
  virtual void on_lost(const absl::Status& status) = 0;
};

using PipelineId = uint64_t;  // never used again for another

// Names a sequence from start() to its end.
struct SequenceHandle {
  PipelineId pipeline = 0;
  uint64_t sequence_id = 0;  // unique in this process
};

class Pipelines {
 public:
  virtual ~Pipelines() = default;
  // A ready pipeline that is to run all sequences of the request; none while all are full. Errors:
  // UNAVAILABLE with a retry hint when no pipeline is ready.
  virtual absl::StatusOr<std::optional<PipelineId>> choose(const ValidatedRequest& request) = 0;
  // Sends a sequence to a pipeline that was chosen in this turn of the loop; sequence_id is filled in here.
  // No callback comes before this returns.
  virtual SequenceHandle start(PipelineId pipeline, v1::StartSequence sequence, SequenceEvents& events) = 0;
  // Ends a sequence; no callback comes for it any more. One that has ended already is ignored.
  virtual void cancel(const SequenceHandle& handle) = 0;
};

}  // namespace octet::router
