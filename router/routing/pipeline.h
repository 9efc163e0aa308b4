// What generation needs of the pipelines: one with room for a request, start its sequences there, end them
// early, and hear what happens to them. Event loop only, callbacks included. Tests of generation put a
// scripted one in its place.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "router/request/validated_request.h"

namespace octet::v1 {
class SequenceOutput;
class StartSequence;
}  // namespace octet::v1

namespace octet::router {

using PipelineId = uint64_t;  // from 1, never used again for another

// Why a sequence leaves a pipeline before its end.
enum class MoveReason {
  kLost,      // the stream to the lead ended
  kHung,      // the lead says nothing, or makes no progress
  kDraining,  // the lead is about to end
  kFailed,    // the lead gave the sequence up for a reason of its own, not of the request
};

// Hears of one sequence. Stays valid until its last call or until the sequence is cancelled.
class SequenceEvents {
 public:
  virtual ~SequenceEvents() = default;
  // News from the lead. The last call when it has a finish_reason or an error_code.
  virtual void on_output(const v1::SequenceOutput& output) = 0;
  // The pipeline ends at that time; again and again until then. The sequence may be cancelled from within.
  virtual void on_draining(Time end) = 0;
  // The pipeline went away, and the sequence with it; always the last call.
  virtual void on_lost(MoveReason reason) = 0;
};

// Names a sequence from start() to its end.
struct SequenceHandle {
  PipelineId pipeline = 0;
  uint64_t sequence_id = 0;  // unique in this process
};

// What looks for a pipeline: all choices of a request together, or one of them that moves.
struct Placement {
  const ValidatedRequest& request;
  uint32_t num_sequences = 1;
  uint64_t num_generated = 0;  // tokens that follow the prompt already, of each
  PipelineId avoid = 0;        // to be taken only when no other one has room; 0: none
};

class Pipelines {
 public:
  virtual ~Pipelines() = default;
  // A ready pipeline that is to run all sequences of the placement; none while all are full. Errors:
  // UNAVAILABLE with a retry hint when no pipeline is ready.
  virtual absl::StatusOr<std::optional<PipelineId>> choose(const Placement& placement) = 0;
  // None is ready, but one has lost a stage a moment ago and will soon be: newcomers are to wait for it.
  virtual bool is_pausing() const { return false; }
  // Sends a sequence to a pipeline that was chosen in this turn of the loop; sequence_id is filled in here.
  // No callback comes before this returns.
  virtual SequenceHandle start(PipelineId pipeline, v1::StartSequence sequence, SequenceEvents& events) = 0;
  // Ends a sequence; no callback comes for it any more. One that has ended already is ignored.
  virtual void cancel(const SequenceHandle& handle) = 0;
};

}  // namespace octet::router
