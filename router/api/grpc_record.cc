#include "router/api/grpc_record.h"

#include <string_view>

#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "router/tracing/call_recorder.h"

namespace octet::router {
namespace {

// All metadata of this name, as one list.
std::string joined(const grpc::ServerContextBase& call, const char* name) {
  std::string list;
  const auto [begin, end] = call.client_metadata().equal_range(name);
  for (auto it = begin; it != end; ++it) {
    if (!list.empty()) list += ',';
    list.append(it->second.data(), it->second.size());
  }
  return list;
}

// gRPC says "ipv4:127.0.0.1:5000" and "ipv6:%5B::1%5D:5000".
std::string address_of(const std::string& peer) {
  absl::string_view address = peer;
  if (!absl::ConsumePrefix(&address, "ipv4:")) absl::ConsumePrefix(&address, "ipv6:");
  return absl::StrReplaceAll(address, {{"%5B", "["}, {"%5D", "]"}});
}

}  // namespace

std::shared_ptr<CallRecord> begin_grpc_record(const ServiceContext& context,
                                              const grpc::ServerContextBase& call, const std::string& method,
                                              const std::string& operation) {
  if (context.calls == nullptr) return nullptr;
  CallOrigin origin{.api = "grpc",
                    .operation = operation,
                    .method = "",
                    .path = "/octet.v1.Generation/" + method,
                    .client = address_of(call.peer()),
                    .request_id = ""};
  return context.calls->begin(std::move(origin), joined(call, "traceparent"), joined(call, "tracestate"));
}

void end_grpc_record(CallRecord* record, const absl::Status& status) {
  if (record == nullptr) return;
  record->status = status;
  record->end(now());
}

}  // namespace octet::router
