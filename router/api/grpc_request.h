// What the gRPC calls that generate have in common: from a draft and its call to a request that may run.
#pragma once

#include <grpcpp/server_context.h>

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "router/api/grpc_convert.h"
#include "router/api/grpc_wire.h"
#include "router/api/service_context.h"
#include "router/request/request_draft.h"
#include "router/request/validated_request.h"
#include "router/tracing/call_record.h"

namespace octet::router {

// Whose API key the call brings, or nobody where none is asked for. From any thread. Errors: UNAUTHENTICATED,
// PERMISSION_DENIED.
absl::StatusOr<Tenant> authenticate(const ServiceContext& context, const grpc::ServerContextBase& call);

// The call's deadline becomes the request's. From any thread. Errors: those of validate(), DEADLINE_EXCEEDED.
absl::StatusOr<ValidatedRequest> validate_call(RequestDraft draft, const ServiceContext& context,
                                               const grpc::ServerContextBase& call);

// Chooses the call's request id - the message's, the metadata's x-request-id, or a new one - and puts it into
// the trailer. A client's id that may not be used is returned all the same, for validate() to refuse.
std::string tell_request_id(grpc::ServerContextBase& call, std::string in_message);

// Tells the record, if there is one, whose the call is and its id.
void note_caller(const std::string& request_id, const absl::StatusOr<Tenant>& tenant, CallRecord* record);

// All of the above, from a message's bytes on. The key is asked for before the message is read, and the
// trailer has an id whatever comes of the call. Request: any that to_draft() takes. Errors: theirs, and
// parse()'s.
template <typename Request>
absl::StatusOr<ValidatedRequest> read_request(const grpc::ByteBuffer& bytes, const ServiceContext& context,
                                              grpc::ServerContextBase& call,
                                              std::shared_ptr<CallRecord> record) {
  Request request;
  const absl::StatusOr<Tenant> tenant = authenticate(context, call);
  const absl::Status status = tenant.ok() ? parse(bytes, request) : tenant.status();
  RequestDraft draft = to_draft(request);
  draft.request_id = tell_request_id(call, std::move(draft.request_id));
  note_caller(draft.request_id, tenant, record.get());
  if (record && std::holds_alternative<Chat>(draft.prompt)) record->origin.operation = "chat";
  if (!status.ok()) return status;
  draft.tenant = *tenant;
  draft.record = std::move(record);
  return validate_call(std::move(draft), context, call);
}

// How a call ends that its client or its deadline ended. Only before the call was finished.
absl::Status client_gone(const grpc::ServerContextBase& call);

}  // namespace octet::router
