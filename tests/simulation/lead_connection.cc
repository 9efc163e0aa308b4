#include "tests/simulation/lead_connection.h"

#include <boost/asio/post.hpp>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "base/wire_version.h"
#include "octet/v1/pipeline.pb.h"
#include "router/routing/merge_outputs.h"
#include "router/routing/sequence_output.h"
#include "tests/simulation/breaks.h"
#include "tests/simulation/checks.h"
#include "tests/simulation/network.h"

namespace octet::simulation {
namespace {

constexpr Duration kMaxBusyTime = std::chrono::milliseconds(20);

// Events are posted to the loop and the loop is turned, as a thread of it would.
class NetworkLeadConnection final : public router::LeadConnection {
 public:
  NetworkLeadConnection(boost::asio::io_context& loop, const std::string& address, Duration watch_interval,
                        Events events)
      : loop_(loop), address_(address), events_(std::make_shared<Events>(std::move(events))) {
    watch_ = open("Watch", [events = events_.get()](const google::protobuf::Message& message) {
      events->on_watch(static_cast<const v1::WatchResponse&>(message));
    });
    auto request = std::make_shared<v1::WatchRequest>();
    request->set_interval_ms(
        static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(watch_interval).count()));
    request->set_with_prefix_digest(true);
    request->set_wire_version(kPipelineWireVersion);
    watch_->send(std::move(request));
  }
  ~NetworkLeadConnection() override { close(); }

  void open_submit() override {
    if (submit_) return;
    submit_ = open("Submit", [this](const google::protobuf::Message& message) {
      const auto& response = static_cast<const v1::SubmitResponse&>(message);
      for (const v1::SequenceOutput& output : response.outputs()) {
        if (router::is_last(output)) ended(output.sequence_id());
      }
      take_outputs(response);
    });
  }

  void start(v1::StartSequence sequence) override {
    const std::string key = absl::StrCat(sequence.sampling().seed(), " ", sequence.sampling().choice_index());
    checks().sequence_started(key);
    if (is_broken(Break::kStartTwice) && Runtime::current()->chance(0.05)) checks().sequence_started(key);
    keys_[sequence.sequence_id()] = key;
    auto request = std::make_shared<v1::SubmitRequest>();
    *request->mutable_start() = std::move(sequence);
    if (request->start().generated_tokens_size() > 0) tamper_with_move(*request->mutable_start());
    submit_->send(std::move(request));
  }

  void cancel(uint64_t sequence_id) override {
    ended(sequence_id);
    auto request = std::make_shared<v1::SubmitRequest>();
    request->mutable_cancel()->set_sequence_id(sequence_id);
    submit_->send(std::move(request));
  }

  std::vector<std::shared_future<void>> close() override {
    events_ = std::make_shared<Events>();  // what is posted finds none
    watch_ = submit_ = nullptr;
    for (const auto& [id, key] : keys_) checks().sequence_ended(key);
    keys_.clear();
    return {};
  }

 private:
  std::shared_ptr<End> open(const std::string& service,
                            std::function<void(const google::protobuf::Message&)> on_message) {
    const std::weak_ptr<Events> weak = events_;
    const auto on_loop = [&loop = loop_](const std::function<void()>& f) {
      boost::asio::post(loop, f);
      Runtime::current()->process()->poll_loop();
    };
    return network().connect(address_, service,
                             {.on_message =
                                  [weak, on_loop, on_message](const google::protobuf::Message& message) {
                                    on_loop([weak, on_message, &message] {
                                      if (const auto events = weak.lock()) on_message(message);
                                    });
                                  },
                              .on_end =
                                  [this, weak, on_loop](const std::string& reason) {
                                    on_loop([this, weak, reason] {
                                      if (const auto events = weak.lock()) tell_outputs();
                                      if (const auto events = weak.lock()) events->on_end(reason);
                                    });
                                  }});
  }

  // Now and then the loop is busy: what comes meanwhile is handled as one message, as LoopStream has it.
  void take_outputs(const v1::SubmitResponse& response) {
    const bool is_first = waiting_.empty();
    waiting_.push_back(response);
    Runtime& runtime = *Runtime::current();
    if (!is_first) return;
    if (!runtime.chance(0.2)) return tell_outputs();
    runtime.after(runtime.between(Duration(0), kMaxBusyTime), runtime.process(),
                  [this, weak = std::weak_ptr(events_)] {
                    if (weak.expired()) return;
                    tell_outputs();
                    Runtime::current()->process()->poll_loop();
                  });
  }

  void tell_outputs() {
    if (waiting_.empty()) return;
    const auto events = events_;  // the connection may be closed from within
    events->on_outputs(router::in_one(std::exchange(waiting_, {})));
  }

  static void tamper_with_move(v1::StartSequence& sequence) {
    if (is_broken(Break::kForgetOnMove)) sequence.mutable_generated_tokens()->RemoveLast();
    if (is_broken(Break::kOtherChoiceOnMove)) {
      sequence.mutable_sampling()->set_choice_index(sequence.sampling().choice_index() + 1);
    }
  }

  void ended(uint64_t sequence_id) {
    const auto key = keys_.extract(sequence_id);
    if (key) checks().sequence_ended(key.mapped());
  }

  boost::asio::io_context& loop_;
  const std::string address_;
  std::shared_ptr<Events> events_;
  std::shared_ptr<End> watch_;
  std::shared_ptr<End> submit_;
  std::vector<v1::SubmitResponse> waiting_;
  std::unordered_map<uint64_t, std::string> keys_;  // what names a sequence everywhere
};

}  // namespace

router::ConnectToLead connect_by_network() {
  return [](boost::asio::io_context& loop, const std::string& address, Duration watch_interval,
            router::LeadConnection::Events events) {
    return std::make_unique<NetworkLeadConnection>(loop, address, watch_interval, std::move(events));
  };
}

}  // namespace octet::simulation
