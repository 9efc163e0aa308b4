#include "worker/rpc/registrar.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/grpc_server.h"
#include "base/log.h"
#include "base/status.h"
#include "octet/v1/stage.grpc.pb.h"
#include "worker/rpc/convert.h"

namespace octet::worker {
namespace {

constexpr Duration kPeriod = std::chrono::seconds(1);
constexpr std::chrono::seconds kCallTimeout(5);

}  // namespace

Registrar::Registrar(std::string lead_address, std::shared_ptr<TlsFiles> cluster,
                     std::function<bool()> needed, std::function<Registration()> registration)
    : lead_address_(std::move(lead_address)),
      cluster_(std::move(cluster)),
      needed_(std::move(needed)),
      registration_(std::move(registration)),
      thread_([this] { run(); }) {}

Registrar::~Registrar() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    if (call_ != nullptr) call_->TryCancel();
  }
  changed_.notify_one();
  thread_.join();
}

void Registrar::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

std::optional<absl::Status> Registrar::refusal() const {
  const std::lock_guard lock(mutex_);
  return refusal_;
}

void Registrar::run() {
  for (;;) {
    std::optional<absl::Status> status;  // none when there is nothing to report
    if (needed_()) status = register_once();
    std::unique_lock lock(mutex_);
    if (stopped_) return;
    if (status && status->code() == absl::StatusCode::kFailedPrecondition) {
      refusal_ =
          absl::FailedPreconditionError(absl::StrCat("the lead refused this stage: ", status->message()));
      return;
    }
    if (status) report(*status);
    changed_.wait_for(lock, kPeriod, [this] { return stopped_ || woken_; });
    if (stopped_) return;
    woken_ = false;
  }
}

absl::Status Registrar::register_once() {
  const auto stub = v1::Registry::NewStub(
      internal_channel(lead_address_, cluster_.get()));  // new: the name is resolved again
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  context.set_wait_for_ready(true);
  v1::RegisterRequest request;
  v1::RegisterResponse response;
  to_proto(registration_(), &request);
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return absl::CancelledError("stopping");
    call_ = &context;
  }
  const grpc::Status status = stub->Register(&context, request, &response);
  const std::lock_guard lock(mutex_);
  call_ = nullptr;
  return from_grpc(status);
}

void Registrar::report(const absl::Status& status) {
  if (reported_ && reported_->code() == status.code()) return;
  reported_ = status;
  if (status.ok()) {
    spdlog::info("registered with the lead at {}", lead_address_);
  } else {
    spdlog::warn("the lead at {} does not take this stage yet: {}", lead_address_,
                 loggable(text_of(status), 512));
  }
}

}  // namespace octet::worker
