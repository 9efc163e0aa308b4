// What the gRPC calls that generate have in common: from a draft and its call to a request that may run.
#pragma once

#include <grpcpp/server_context.h>

#include "absl/status/statusor.h"
#include "router/api/service_context.h"
#include "router/request/request_draft.h"
#include "router/request/validated_request.h"

namespace octet::router {

// The call's deadline becomes the request's. From any thread. Errors: those of validate(), DEADLINE_EXCEEDED.
absl::StatusOr<ValidatedRequest> validate_call(RequestDraft draft, const ServiceContext& context,
                                               const grpc::ServerContextBase& call);

// How a call ends that its client or its deadline ended. Only before the call was finished.
absl::Status client_gone(const grpc::ServerContextBase& call);

}  // namespace octet::router
