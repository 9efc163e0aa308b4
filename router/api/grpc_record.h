// The record of a gRPC call.
#pragma once

#include <grpcpp/server_context.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "router/api/service_context.h"
#include "router/tracing/call_record.h"

namespace octet::router {

// method: of octet.v1.Generation. Null when calls are not recorded.
std::shared_ptr<CallRecord> begin_grpc_record(const ServiceContext& context,
                                              const grpc::ServerContextBase& call, const std::string& method,
                                              const std::string& operation);

// How the call ended, and that it did now; nothing happens without a record.
void end_grpc_record(CallRecord* record, const absl::Status& status);

}  // namespace octet::router
