#include "tests/simulation/stage_host.h"

#include <google/protobuf/wrappers.pb.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "octet/v1/stage.pb.h"
#include "tests/simulation/breaks.h"
#include "tests/simulation/checks.h"

namespace octet::simulation {
namespace {

constexpr Duration kPeriod = std::chrono::seconds(1);       // of registrations
constexpr Duration kCallTimeout = std::chrono::seconds(5);  // of one
constexpr Duration kMaxLateness = std::chrono::seconds(2);
constexpr int kStagePort = 50062;
constexpr int kLinkPort = 50063;

}  // namespace

worker::StageDescription describe(const PipelineShape& pipeline, int stage) {
  worker::StageDescription description;
  description.stage = stage;
  description.num_stages = pipeline.num_stages;
  description.num_ranks = pipeline.num_ranks;
  description.layers = {stage * 2, stage * 2 + 2};
  description.num_blocks = pipeline.num_blocks;
  description.block_size = pipeline.block_size;
  description.max_batch_tokens = pipeline.max_batch_tokens;
  description.model_digest = "simulation";
  description.backend = "simulation";
  return description;
}

worker::WireLimits wire_limits(const PipelineShape& pipeline) {
  worker::WireLimits limits;
  limits.vocab_size = static_cast<uint32_t>(pipeline.model.vocab_size);
  limits.max_model_len = static_cast<uint32_t>(pipeline.model.max_model_len);
  limits.max_batch_tokens = pipeline.max_batch_tokens;
  limits.num_blocks = pipeline.num_blocks;
  limits.block_size = pipeline.block_size;
  return limits;
}

MessagePtr status_message(const absl::Status& status) {
  auto message = std::make_shared<google::protobuf::StringValue>();
  message->set_value(absl::StrCat(static_cast<int>(status.code()), " ", std::string(status.message())));
  return message;
}

absl::Status status_of(const google::protobuf::Message& message) {
  const std::string& text = static_cast<const google::protobuf::StringValue&>(message).value();
  const size_t space = text.find(' ');
  return {static_cast<absl::StatusCode>(std::stoi(text)), text.substr(space + 1)};
}

// The lead's plans of one epoch.
struct StageHost::ExecuteStream {
  std::shared_ptr<End> end;
  uint64_t epoch = 0;  // of the first plan; 0 before it
};

StageHost::StageHost(const PipelineShape& pipeline, int stage, const std::string& lead_address)
    : pipeline_(pipeline),
      stage_number_(stage),
      lead_address_(lead_address),
      limits_(wire_limits(pipeline)),
      stage_(pipeline, stage),
      listener_(worker::TcpLinkListener::listen(Runtime::current()->process()->name, kLinkPort).value()),
      executor_(stage_, listener_.get()) {
  network().listen(
      absl::StrCat(Runtime::current()->process()->name, ":", kStagePort),
      [this](const std::string& service, std::shared_ptr<End> end) { accept(service, std::move(end)); });
  register_regularly();
}

StageHost::~StageHost() {
  executor_.stop();
}

void StageHost::accept(const std::string& service, std::shared_ptr<End> end) {
  if (service == "Join") {
    end->hear({.on_message = [this, end](const auto& message) { join(message, end); }, .on_end = {}});
    return;
  }
  const auto stream = std::make_shared<ExecuteStream>();
  stream->end = end;
  end->hear({.on_message = [this, stream](const auto& message) { execute(message, stream); },
             .on_end = [this, stream](const std::string&) { close(stream); }});
}

void StageHost::join(const google::protobuf::Message& message, const std::shared_ptr<End>& end) {
  const auto& request = static_cast<const v1::JoinRequest&>(message);
  worker::JoinCommand command;
  std::memcpy(command.link_key.data(), request.link_key().data(), command.link_key.size());
  command.epoch = request.epoch();
  command.next_link_address = request.next_link_address();
  command.num_blocks = request.num_blocks();
  command.timeout = std::chrono::milliseconds(request.timeout_ms());
  checks().trace(absl::StrCat("is to join epoch ", command.epoch));
  executor_.join(command, [end, epoch = command.epoch](const absl::Status& status) {
    checks().trace(absl::StrCat("join of epoch ", epoch, ": ", status.ToString()));
    end->send(status_message(status));
  });
}

void StageHost::execute(const google::protobuf::Message& message,
                        const std::shared_ptr<ExecuteStream>& stream) {
  const auto& request = static_cast<const v1::ExecuteRequest&>(message);
  const bool is_first = stream->epoch == 0;
  if (is_first) {
    if (request.epoch() == 0 || request.epoch() != executor_.last_epoch() ||
        request.epoch() == streaming_epoch_) {
      return close(stream);
    }
    stream->epoch = streaming_epoch_ = request.epoch();
  }
  if (request.epoch() != stream->epoch) return;
  absl::StatusOr<worker::BatchPlan> plan = from_proto(request.plan(), limits_);
  if (!plan.ok()) {
    checks().violation(absl::StrCat("a stage cannot read a plan: ", std::string(plan.status().message())));
    return close(stream);
  }
  auto taken = std::make_shared<const worker::BatchPlan>(*std::move(plan));
  if (is_broken(Break::kLatePlans) && is_first && last_plan_) taken = last_plan_;
  last_plan_ = taken;
  executor_.execute(stream->epoch, std::move(taken),
                    [end = stream->end, epoch = stream->epoch](worker::StepResult result) {
                      auto response = std::make_shared<v1::ExecuteResponse>();
                      response->set_epoch(epoch);
                      to_proto(result, response->mutable_result());
                      end->send(std::move(response));
                    });
}

void StageHost::close(const std::shared_ptr<ExecuteStream>& stream) {
  stream->end->close();
  if (stream->epoch == 0) return;
  repeat_late(stream->epoch);
  executor_.end_epoch(stream->epoch);
  if (streaming_epoch_ != stream->epoch) return;
  streaming_epoch_ = 0;
  register_once();
}

// The executor gets a plan that one of gRPC's threads had in hand when the stream ended, or long after.
void StageHost::repeat_late(uint64_t epoch) {
  Runtime& runtime = *Runtime::current();
  if (!last_plan_ || !runtime.chance(0.3)) return;
  runtime.after(
      runtime.between(Duration(0), kMaxLateness), runtime.process(),
      [this, epoch, plan = last_plan_] { executor_.execute(epoch, plan, [](const worker::StepResult&) {}); });
}

worker::Registration StageHost::registration() const {
  const std::string& host = Runtime::current()->process()->name;
  worker::Registration registration{describe(pipeline_, stage_number_), absl::StrCat(host, ":", kStagePort),
                                    absl::StrCat(host, ":", kLinkPort)};
  registration.description.last_epoch = executor_.last_epoch();
  return registration;
}

void StageHost::register_regularly() {
  if (!registering_ && !in_service()) register_once();
  Runtime::current()->after(kPeriod, Runtime::current()->process(), [this] { register_regularly(); });
}

void StageHost::register_once() {
  if (is_broken(Break::kMute) && executor_.last_epoch() > 0) return;
  auto request = std::make_shared<v1::RegisterRequest>();
  to_proto(registration(), request.get());
  const auto done = [this] { registering_ = nullptr; };
  registering_ = network().connect(
      lead_address_, "Register",
      {.on_message =
           [done](const google::protobuf::Message& message) {
             const absl::Status status = status_of(message);
             if (absl::IsFailedPrecondition(status)) {
               checks().violation(absl::StrCat("the lead refuses a stage: ", std::string(status.message())));
             }
             done();
           },
       .on_end = [done](const std::string&) { done(); }});
  registering_->send(std::move(request));
  const uint64_t number = ++registration_number_;
  Runtime::current()->after(kCallTimeout, Runtime::current()->process(), [this, number] {
    if (number == registration_number_) registering_ = nullptr;
  });
}

}  // namespace octet::simulation
