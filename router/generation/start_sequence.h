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

// generated: tokens that the choice has already (a sequence that moves to another pipeline), else empty.
// sequence_id is left to the pipeline's client. The request's deadline must lie after now.
v1::StartSequence start_sequence(const ValidatedRequest& request, uint32_t choice_index,
                                 std::span<const TokenId> generated, Time now);

}  // namespace octet::router
