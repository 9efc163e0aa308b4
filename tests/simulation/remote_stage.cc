// A later stage as the lead's engine sees it: a call of Join, then one stream of Execute for the epoch.
#include "absl/strings/str_cat.h"
#include "octet/v1/stage.pb.h"
#include "tests/simulation/breaks.h"
#include "tests/simulation/checks.h"
#include "tests/simulation/lead_host.h"
#include "tests/simulation/stage_host.h"

namespace octet::simulation {
namespace {

constexpr Duration kMaxCancelTime = std::chrono::milliseconds(500);
constexpr Duration kMaxLateness = std::chrono::seconds(2);

// What outlives the client: events that come too late are dropped with it.
class StageConnection : public std::enable_shared_from_this<StageConnection> {
 public:
  StageConnection(const PipelineShape& pipeline, const worker::Registration& registration,
                  std::shared_ptr<worker::StageEvents> events)
      : pipeline_(pipeline),
        limits_(wire_limits(pipeline)),
        stage_(registration.description.stage),
        address_(registration.stage_address),
        events_(std::move(events)) {}

  void join(const worker::JoinCommand& command) {
    epoch_ = command.epoch;
    newest_epoch_of(pipeline_.pipeline) = epoch_;
    auto request = std::make_shared<v1::JoinRequest>();
    request->set_epoch(command.epoch);
    request->set_next_link_address(command.next_link_address);
    request->set_num_blocks(command.num_blocks);
    request->set_link_key(command.link_key.data(), command.link_key.size());
    request->set_timeout_ms(static_cast<uint32_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(command.timeout).count()));
    const auto self = shared_from_this();
    joining_ = network().connect(
        address_, "Join",
        {.on_message = [self](const auto& message) { self->on_joined(status_of(message)); },
         .on_end = [self](const std::string& reason) { self->on_joined(absl::UnavailableError(reason)); }});
    joining_->send(std::move(request));
    Runtime::current()->after(command.timeout, Runtime::current()->process(), [weak = weak_from_this()] {
      const auto connection = weak.lock();
      if (connection && connection->joining_)
        connection->on_joined(absl::DeadlineExceededError("no answer to Join"));
    });
  }

  void execute(const worker::BatchPlan& plan) {
    if (!stream_) return;
    auto request = std::make_shared<v1::ExecuteRequest>();
    request->set_epoch(epoch_);
    to_proto(plan, request->mutable_plan());
    stream_->send(std::move(request));
  }

  // What gRPC's threads have in hand may still come: now and then for some time.
  void cancel() {
    joining_ = nullptr;
    cancelled_ = true;
    repeat_late();
    if (is_broken(Break::kLateResults)) return;
    Runtime& runtime = *Runtime::current();
    if (!stream_ || !runtime.chance(0.1)) {
      stream_ = nullptr;
    } else {
      runtime.after(runtime.between(Duration(0), kMaxCancelTime), runtime.process(),
                    [stream = std::exchange(stream_, nullptr)] { stream->close(); });
    }
  }

 private:
  // The engine hears of a message that one of gRPC's threads had in hand when the epoch ended, or long after.
  void repeat_late() {
    Runtime& runtime = *Runtime::current();
    if (!last_result_ || !runtime.chance(0.3)) return;
    runtime.after(runtime.between(Duration(0), kMaxLateness), runtime.process(), [self = shared_from_this()] {
      self->events_->on_result(self->stage_, self->epoch_, *self->last_result_);
    });
  }

  static uint64_t& newest_epoch_of(int pipeline) {
    static std::map<int, uint64_t> epochs;
    return epochs[pipeline];
  }

  void on_joined(const absl::Status& status) {
    const auto call = std::move(joining_);
    if (!call || cancelled_) return;
    if (status.ok()) {
      const auto self = shared_from_this();
      stream_ = network().connect(address_, "Execute",
                                  {.on_message = [self](const auto& message) { self->on_result(message); },
                                   .on_end = [self](const std::string& reason) { self->on_end(reason); }});
    }
    events_->on_joined(stage_, epoch_, status);
  }

  void on_result(const google::protobuf::Message& message) {
    const auto& response = static_cast<const v1::ExecuteResponse&>(message);
    if (response.epoch() != epoch_) return;
    absl::StatusOr<worker::StepResult> result = from_proto(response.result(), limits_);
    if (!result.ok()) {
      checks().violation(
          absl::StrCat("the lead cannot read a result: ", std::string(result.status().message())));
      return events_->on_lost(stage_, epoch_, result.status());
    }
    const uint64_t epoch = is_broken(Break::kLateResults) ? newest_epoch_of(pipeline_.pipeline) : epoch_;
    last_result_ = *std::move(result);
    events_->on_result(stage_, epoch, *last_result_);
  }

  void on_end(const std::string& reason) { events_->on_lost(stage_, epoch_, absl::UnavailableError(reason)); }

  const PipelineShape pipeline_;
  const worker::WireLimits limits_;
  const int stage_;
  const std::string address_;
  const std::shared_ptr<worker::StageEvents> events_;
  uint64_t epoch_ = 0;
  bool cancelled_ = false;
  std::shared_ptr<End> joining_;
  std::shared_ptr<End> stream_;
  std::optional<worker::StepResult> last_result_;
};

class RemoteStage final : public worker::StageClient {
 public:
  explicit RemoteStage(std::shared_ptr<StageConnection> connection) : connection_(std::move(connection)) {}
  ~RemoteStage() override { connection_->cancel(); }
  void join(const worker::JoinCommand& command) override { connection_->join(command); }
  void execute(std::shared_ptr<const worker::BatchPlan> plan) override { connection_->execute(*plan); }

 private:
  const std::shared_ptr<StageConnection> connection_;
};

}  // namespace

std::unique_ptr<worker::StageClient> make_remote_client(const PipelineShape& pipeline,
                                                        const worker::Registration& registration,
                                                        std::shared_ptr<worker::StageEvents> events) {
  return std::make_unique<RemoteStage>(
      std::make_shared<StageConnection>(pipeline, registration, std::move(events)));
}

}  // namespace octet::simulation
