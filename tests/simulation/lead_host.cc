#include "tests/simulation/lead_host.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "octet/v1/pipeline.pb.h"
#include "octet/v1/stage.pb.h"
#include "tests/simulation/breaks.h"
#include "tests/simulation/checks.h"
#include "tests/simulation/stage_host.h"
#include "worker/engine/local_stage_client.h"

namespace octet::simulation {
namespace {

// By when the lead must be done with what was cancelled: what its engine was about to tell is told.
constexpr Duration kCancelTime = std::chrono::milliseconds(1);

// Tells the checks of every plan on its way to a stage.
class WatchedClient final : public worker::StageClient {
 public:
  WatchedClient(int pipeline, std::unique_ptr<worker::StageClient> client)
      : pipeline_(pipeline), client_(std::move(client)) {}
  void join(const worker::JoinCommand& command) override {
    epoch_ = command.epoch;
    client_->join(command);
  }
  void execute(std::shared_ptr<const worker::BatchPlan> plan) override {
    checks().plan_sent(pipeline_, epoch_, plan->step, digest_of(*plan));
    client_->execute(std::move(plan));
  }

 private:
  const int pipeline_;
  const std::unique_ptr<worker::StageClient> client_;
  uint64_t epoch_ = 0;
};

std::vector<int> all_stages(int count) {
  std::vector<int> stages(static_cast<size_t>(count));
  std::iota(stages.begin(), stages.end(), 0);
  return stages;
}

worker::Formation make_formation(const PipelineShape& pipeline) {
  std::vector<worker::LayerRange> layers;
  for (int i = 0; i < pipeline.num_stages; ++i) layers.push_back(describe(pipeline, i).layers);
  return {describe(pipeline, 0), std::move(layers), {}};
}

}  // namespace

// One router's Submit stream.
class LeadHost::RouterStream final : public worker::Subscriber,
                                     public std::enable_shared_from_this<RouterStream> {
 public:
  RouterStream(LeadHost& host, std::shared_ptr<End> end) : host_(host), end_(std::move(end)) {}

  void begin() {
    const auto self = shared_from_this();
    subscriber_ = host_.engine_.subscribe(self);
    end_->hear(
        {.on_message =
             [self](const auto& message) { self->take(static_cast<const v1::SubmitRequest&>(message)); },
         .on_end = [self](const std::string&) { self->host_.engine_.unsubscribe(self->subscriber_); }});
  }

  bool deliver(std::vector<worker::SequenceNews> news) override {
    if (ended_) return false;
    if (end_->num_on_the_way() > host_.pipeline_.max_messages_on_the_way) {
      end(unavailable("the stream is read too slowly", std::chrono::seconds(1)));
      return false;
    }
    for (const worker::SequenceNews& each : news) check(each);
    tamper(news);
    send(news);
    if (is_broken(Break::kCommitTwice) && Runtime::current()->chance(0.02)) send(news);
    return true;
  }

  void end(const absl::Status& status) override {
    if (!absl::IsUnavailable(status))
      checks().violation(absl::StrCat("the engine ends a stream: ", std::string(status.message())));
    ended_ = true;
    end_->close();
  }

 private:
  void take(const v1::SubmitRequest& request) {
    if (request.has_cancel()) {
      const uint64_t id = request.cancel().sequence_id();
      cancelled_.emplace(id, Runtime::current()->time());
      if (is_broken(Break::kDropCancel)) return;
      if (!host_.engine_.cancel(subscriber_, id)) end_->close();
      return;
    }
    const v1::StartSequence& start = request.start();
    absl::StatusOr<worker::NewSequence> sequence = from_proto(start, host_.limits_, now());
    if (!sequence.ok()) {
      return checks().violation(
          absl::StrCat("the lead cannot read a sequence: ", std::string(sequence.status().message())));
    }
    if (is_broken(Break::kLeakSequence) && start.sequence_id() % 8 == 0) leak(*sequence);
    const uint32_t interval = std::max<uint32_t>(start.output_interval_tokens(), 1);
    if (host_.engine_.submit(subscriber_, start.sequence_id(), *std::move(sequence), interval)) return;
    worker::SequenceNews refusal;
    refusal.router_sequence_id = start.sequence_id();
    refusal.failure = overloaded("too many submissions wait", std::chrono::seconds(1));
    send({std::move(refusal)});
  }

  // A copy that starts over for ever, with blocks that nobody asked for.
  void leak(worker::NewSequence sequence) {
    struct Nobody final : worker::Subscriber {
      bool deliver(std::vector<worker::SequenceNews> news) override {
        for (const worker::SequenceNews& each : news) {
          if (each.finish) again();
        }
        return true;
      }
      void end(const absl::Status&) override {
        again = [] {};
      }
      std::function<void()> again;
    };
    const auto nobody = std::make_shared<Nobody>();
    const worker::SubscriberId id = host_.engine_.subscribe(nobody);
    sequence.deadline = kNoDeadline;
    nobody->again = [&engine = host_.engine_, id, sequence, number = uint64_t{0}]() mutable {
      engine.submit(id, ++number, sequence);
    };
    nobody->again();
  }

  void check(const worker::SequenceNews& news) {
    const uint64_t id = news.router_sequence_id;
    const auto cancelled = cancelled_.find(id);
    if (cancelled != cancelled_.end() && Runtime::current()->time() > cancelled->second + kCancelTime) {
      checks().violation(absl::StrCat("the lead goes on with sequence ", id, ", which was cancelled"));
    }
    if (!news.finish && news.failure.ok()) return;
    if (absl::IsInternal(news.failure) || absl::IsInvalidArgument(news.failure)) {
      checks().violation(
          absl::StrCat("the lead fails sequence ", id, ": ", std::string(news.failure.message())));
    }
  }

  void tamper(std::vector<worker::SequenceNews>& news) {
    Runtime& runtime = *Runtime::current();
    if (is_broken(Break::kSwapChoices) && news.size() > 1 && runtime.chance(0.05))
      std::swap(news[0].tokens, news[1].tokens);
    if (is_broken(Break::kDropEnd)) {
      for (worker::SequenceNews& each : news) {
        if (each.finish && runtime.chance(0.1)) each.finish.reset();
      }
    }
    if (is_broken(Break::kLoseToken) && std::exchange(epoch_, host_.engine_.status().epoch) != epoch_ &&
        had_epoch_) {
      for (worker::SequenceNews& each : news) each.tokens.clear();
    }
    had_epoch_ = true;
  }

  void send(const std::vector<worker::SequenceNews>& news) {
    auto response = std::make_shared<v1::SubmitResponse>();
    for (const worker::SequenceNews& each : news) to_proto(each, response->add_outputs());
    if (is_broken(Break::kReorder) && !held_back_ && Runtime::current()->chance(0.05)) {
      held_back_ = std::move(response);
      return;
    }
    end_->send(std::move(response));
    if (held_back_) end_->send(std::exchange(held_back_, nullptr));
  }

  LeadHost& host_;
  const std::shared_ptr<End> end_;
  worker::SubscriberId subscriber_ = 0;
  bool ended_ = false;
  std::unordered_map<uint64_t, Duration> cancelled_;  // when the cancel came
  std::shared_ptr<v1::SubmitResponse> held_back_;
  uint64_t epoch_ = 0;
  bool had_epoch_ = false;
};

struct LeadHost::Watcher {
  std::shared_ptr<End> end;
  Duration interval{};
  bool with_digest = false;
  bool gone = false;
  uint64_t known_prefixes = 0;
};

LeadHost::LeadHost(const PipelineShape& pipeline, const worker::Engine::Config& config,
                   const std::string& address)
    : pipeline_(pipeline),
      limits_(wire_limits(pipeline)),
      metrics_(all_stages(pipeline.num_stages)),
      stage_(pipeline, 0),
      executor_(stage_, nullptr),
      engine_(
          config, make_formation(pipeline),
          [this](const worker::Registration& registration, std::shared_ptr<worker::StageEvents> events) {
            return make_client(registration, std::move(events));
          },
          metrics_) {
  network().listen(
      address, [this](const std::string& service, const std::shared_ptr<End>& end) { accept(service, end); });
  engine_.start([this](worker::PipelineState) { on_state_change(); });
}

LeadHost::~LeadHost() {
  engine_.stop();
}

std::unique_ptr<worker::StageClient> LeadHost::make_client(const worker::Registration& registration,
                                                           std::shared_ptr<worker::StageEvents> events) {
  std::unique_ptr<worker::StageClient> client;
  if (registration.description.stage == 0) {
    client = std::make_unique<worker::LocalStageClient>(0, executor_, std::move(events));
  } else {
    client = make_remote_client(pipeline_, registration, std::move(events));
  }
  return std::make_unique<WatchedClient>(pipeline_.pipeline, std::move(client));
}

void LeadHost::accept(const std::string& service, const std::shared_ptr<End>& end) {
  if (service == "Submit") return std::make_shared<RouterStream>(*this, end)->begin();
  if (service == "Register") {
    return end->hear(
        {.on_message = [this, end](const auto& message) { take_registration(message, end); }, .on_end = {}});
  }
  const auto watcher = std::make_shared<Watcher>();
  watcher->end = end;
  end->hear({.on_message =
                 [this, watcher](const google::protobuf::Message& message) {
                   const auto& request = static_cast<const v1::WatchRequest&>(message);
                   watcher->interval = std::chrono::milliseconds(request.interval_ms());
                   watcher->with_digest = request.with_prefix_digest();
                   watchers_.push_back(watcher);
                   watch(watcher);
                 },
             .on_end = [watcher](const std::string&) { watcher->gone = true; }});
}

void LeadHost::take_registration(const google::protobuf::Message& message, const std::shared_ptr<End>& end) {
  absl::StatusOr<worker::Registration> registration =
      worker::from_proto(static_cast<const v1::RegisterRequest&>(message));
  if (!registration.ok()) {
    return checks().violation(
        absl::StrCat("the lead cannot read a registration: ", std::string(registration.status().message())));
  }
  engine_.register_stage(*std::move(registration), [end](const absl::StatusOr<uint64_t>& epoch) {
    end->send(status_message(epoch.status()));
  });
}

void LeadHost::watch(const std::shared_ptr<Watcher>& watcher) {
  if (watcher->gone) return;
  tell(*watcher);
  Runtime::current()->after(watcher->interval, Runtime::current()->process(),
                            [this, watcher] { watch(watcher); });
}

// One that is behind misses a turn.
void LeadHost::tell(Watcher& watcher) {
  if (watcher.end->num_on_the_way() > 0) return;
  auto response = std::make_shared<v1::WatchResponse>();
  response->set_sequence_number(++sequence_number_);
  const worker::EngineStatus status = engine_.status();
  to_proto(status, pipeline_.model, "simulation", pipeline_.block_size, now(), response.get());
  const worker::PrefixDigest* const digest = watcher.with_digest ? engine_.prefix_digest() : nullptr;
  const auto changes = digest == nullptr ? std::nullopt : digest->since(watcher.known_prefixes);
  if (changes) {
    watcher.known_prefixes = changes->version;
    to_proto(*changes, response->mutable_prefix_digest());
  }
  watcher.end->send(std::move(response));
}

void LeadHost::on_state_change() {
  std::erase_if(watchers_, [](const auto& weak) { return weak.expired(); });
  for (const auto& weak : watchers_) {
    if (const auto watcher = weak.lock(); watcher && !watcher->gone) tell(*watcher);
  }
}

}  // namespace octet::simulation
