// The part of validate() that decides how tokens are chosen.
#pragma once

#include "absl/status/statusor.h"
#include "router/request/validated_request.h"

namespace octet::router {

// Draws the seed when the draft has none. Errors: invalid_field().
absl::StatusOr<Sampling> validate_sampling(const RequestDraft& draft, const ValidationContext& context);

}  // namespace octet::router
