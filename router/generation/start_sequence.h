// What the lead of a pipeline is told about one choice of a request.
#pragma once

#include <cstdint>
#include <span>

#include "base/clock.h"
#include "router/request/validated_request.h"

namespace octet::v1 {
class StartSequence;
}

namespace octet::router {

// What was done on other pipelines before the choice moved.
struct SequenceProgress {
  std::span<const TokenId> generated;
  bool scores_prompt = true;  // the prompt's log-probabilities are still to be told
};

// sequence_id is left to the pipeline's client. The request's deadline must lie after now.
v1::StartSequence start_sequence(const ValidatedRequest& request, uint32_t choice_index,
                                 const SequenceProgress& progress, Time now);

}  // namespace octet::router
