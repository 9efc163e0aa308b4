#include "worker/rpc/submit_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/grpc_server.h"
#include "base/log.h"
#include "base/status.h"

namespace octet::worker {
namespace {

// Some seconds of output; a router that is further behind has a problem that waiting does not solve.
constexpr size_t kMaxQueuedBytes = 16 << 20;
constexpr int kMaxJoinedOutputs = 4096;
constexpr uint32_t kMaxOutputInterval = 256;
constexpr Duration kRetryAfter = std::chrono::seconds(1);

}  // namespace

SubmitStream::SubmitStream(grpc::CallbackServerContext* context, Engine& engine, const WireLimits& limits)
    : ServerStream(context, kMaxQueuedBytes), engine_(engine), limits_(limits) {}

void SubmitStream::begin() {
  open();
  subscriber_ = engine_.subscribe(std::static_pointer_cast<SubmitStream>(shared_from_this()));
  StartRead(&request_);
}

bool SubmitStream::deliver(std::vector<SequenceNews> news) {
  v1::SubmitResponse response;
  for (const SequenceNews& sequence : news) to_proto(sequence, response.add_outputs());
  return push(std::move(response));
}

// A router that is behind, or a network that is, has fewer and longer messages.
bool SubmitStream::join(v1::SubmitResponse& waiting, v1::SubmitResponse& next) {
  if (waiting.outputs_size() >= kMaxJoinedOutputs) return false;
  for (v1::SequenceOutput& output : *next.mutable_outputs()) *waiting.add_outputs() = std::move(output);
  return true;
}

void SubmitStream::end(const absl::Status& status) {
  finish(to_grpc(status));
}

void SubmitStream::OnReadDone(bool ok) {
  if (!ok) return finish(grpc::Status::OK);  // the router has closed its half, or is gone
  switch (request_.action_case()) {
    case v1::SubmitRequest::kStart:
      start(request_.start());
      break;
    case v1::SubmitRequest::kCancel:
      if (!engine_.cancel(subscriber_, request_.cancel().sequence_id())) {
        return end(overloaded("too many cancellations wait", kRetryAfter));
      }
      break;
    case v1::SubmitRequest::ACTION_NOT_SET:
      return end(invalid_field("action", "is not set"));
  }
  StartRead(&request_);
}

// What cannot be started is answered like news, so that the router's other sequences go on.
void SubmitStream::start(const v1::StartSequence& message) {
  absl::StatusOr<NewSequence> sequence = from_proto(message, limits_, now());
  absl::Status status = sequence.status();
  if (status.ok() && !message.traceparent().empty()) {
    spdlog::debug("sequence {} of router {}: traceparent {}", message.sequence_id(), subscriber_,
                  loggable(message.traceparent()));
  }
  const uint32_t interval = message.output_interval_tokens();
  if (status.ok() && interval > kMaxOutputInterval) {
    status = invalid_field("output_interval_tokens",
                           absl::StrCat("must be at most ", kMaxOutputInterval, ", given ", interval));
  }
  if (status.ok() && !engine_.submit(subscriber_, message.sequence_id(), *std::move(sequence),
                                     std::max<uint32_t>(interval, 1))) {
    status = overloaded("too many submissions wait", kRetryAfter);
  }
  if (status.ok()) return;
  SequenceNews refusal;
  refusal.router_sequence_id = message.sequence_id();
  refusal.failure = std::move(status);
  deliver({std::move(refusal)});
}

void SubmitStream::OnDone() {
  engine_.unsubscribe(subscriber_);
  ServerStream::OnDone();
}

}  // namespace octet::worker
