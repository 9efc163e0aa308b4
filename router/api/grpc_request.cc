#include "router/api/grpc_request.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "router/access/access.h"
#include "router/api/http_server.h"
#include "router/request/request_id.h"

namespace octet::router {
namespace {

// The deadline as the client sees it lies before ours by the time that the request took to come here.
constexpr Duration kDeadlineSlack = std::chrono::milliseconds(100);

}  // namespace

absl::StatusOr<Tenant> authenticate(const ServiceContext& context, const grpc::ServerContextBase& call) {
  if (context.access == nullptr) return Tenant();
  const auto found = call.client_metadata().find("authorization");
  std::string_view sent;
  if (found != call.client_metadata().end()) sent = {found->second.data(), found->second.size()};
  const auto key = context.access->authenticate(sent, Scope::kInference);
  if (!key.ok()) return key.status();
  return (*key)->tenant;
}

absl::StatusOr<ValidatedRequest> validate_call(RequestDraft draft, const ServiceContext& context,
                                               const grpc::ServerContextBase& call) {
  const ValidationContext validation = context.validation();
  const auto deadline = call.deadline();
  if (deadline != std::chrono::system_clock::time_point::max()) {
    const auto left =
        std::min<Duration>(deadline - std::chrono::system_clock::now(), validation.limits.max_timeout);
    if (left <= Duration::zero()) return absl::DeadlineExceededError("the call's deadline has passed");
    draft.timeout_seconds = seconds(left);
  }
  return validate(std::move(draft), validation, now());
}

std::string tell_request_id(grpc::ServerContextBase& call, std::string in_message) {
  const std::string name(kRequestIdHeader);
  std::string given = std::move(in_message);
  if (given.empty()) {
    const auto found = call.client_metadata().find(name);
    if (found != call.client_metadata().end()) given.assign(found->second.data(), found->second.size());
  }
  std::string id = given.empty() ? make_request_id() : given;
  call.AddTrailingMetadata(name, check_request_id(name, id).ok() ? id : make_request_id());
  return id;
}

void note_caller(const std::string& request_id, const absl::StatusOr<Tenant>& tenant, CallRecord* record) {
  if (record == nullptr) return;
  if (tenant.ok()) record->tenant = tenant->name;
  // One that may not be used could be anything, of any size.
  if (check_request_id("request_id", request_id).ok()) record->origin.request_id = request_id;
}

absl::Status client_gone(const grpc::ServerContextBase& call) {
  if (call.deadline() <= std::chrono::system_clock::now() + kDeadlineSlack) {
    return absl::DeadlineExceededError("the call's deadline has passed");
  }
  return absl::CancelledError("the client went away");
}

}  // namespace octet::router
