#include "worker/rpc/pipeline_service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/grpc_server.h"
#include "base/status.h"
#include "base/wire_version.h"
#include "worker/rpc/server_stream.h"
#include "worker/rpc/submit_stream.h"

namespace octet::worker {
namespace {

constexpr size_t kMaxStreams = 1024;  // of each kind; a router has one of each
constexpr size_t kMaxWatchBytes = 64 << 10;
constexpr Duration kDefaultInterval = std::chrono::milliseconds(500);
constexpr Duration kMinInterval = std::chrono::milliseconds(10);
constexpr Duration kMaxInterval = std::chrono::seconds(60);
constexpr Duration kRetryAfter = std::chrono::seconds(1);

absl::Status stopping() {
  return unavailable("the worker is stopping", kRetryAfter);
}

absl::Status too_many_streams() {
  return overloaded(absl::StrCat("at most ", kMaxStreams, " streams"), kRetryAfter);
}

// A stream that only says why there is none.
template <typename Reactor>
class RefusedStream final : public Reactor {
 public:
  explicit RefusedStream(const absl::Status& status) { this->Finish(to_grpc(status)); }
  void OnDone() override { delete this; }
};

void add_prefixes(const PrefixDigest& digest, uint64_t& known, v1::WatchResponse& response) {
  const std::optional<PrefixDigest::Changes> changes = digest.since(known);
  if (!changes) return;
  known = changes->version;
  to_proto(*changes, response.mutable_prefix_digest());
}

}  // namespace

class PipelineService::WatchStream final
    : public ServerStream<grpc::ServerWriteReactor<v1::WatchResponse>, v1::WatchResponse> {
 public:
  // digest: null for a watcher that does not want it, or where there is none.
  WatchStream(grpc::CallbackServerContext* context, Duration interval, const PrefixDigest* digest)
      : ServerStream(context, kMaxWatchBytes), interval(interval), digest(digest) {}
  const Duration interval;
  const PrefixDigest* const digest;
  // Of the watch thread.
  Time due = now();
  uint64_t known_prefixes = 0;  // the digest's version that was told
};

PipelineService::PipelineService(Engine& engine, const Served& served)
    : engine_(engine), served_(served), watch_thread_([this] { watch(); }) {}

PipelineService::~PipelineService() {
  stop();
  watch_thread_.join();
}

void PipelineService::on_state_change() {
  {
    const std::lock_guard lock(mutex_);
    state_changed_ = true;
  }
  changed_.notify_one();
}

void PipelineService::stop() {
  std::vector<std::shared_ptr<WatchStream>> watchers;
  std::vector<std::weak_ptr<SubmitStream>> submit_streams;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    watchers.swap(watchers_);
    submit_streams.swap(submit_streams_);
  }
  changed_.notify_one();
  for (const auto& watcher : watchers) watcher->finish(to_grpc(stopping()));
  for (const auto& weak : submit_streams) {
    if (const auto stream = weak.lock()) stream->end(stopping());
  }
}

grpc::ServerBidiReactor<v1::SubmitRequest, v1::SubmitResponse>* PipelineService::Submit(
    grpc::CallbackServerContext* context) {
  using Refused = RefusedStream<grpc::ServerBidiReactor<v1::SubmitRequest, v1::SubmitResponse>>;
  const auto stream = std::make_shared<SubmitStream>(context, engine_, served_.limits);
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(submit_streams_, [](const auto& weak) { return weak.expired(); });
    if (stopped_) return new Refused(stopping());
    if (submit_streams_.size() >= kMaxStreams) return new Refused(too_many_streams());
    submit_streams_.push_back(stream);
  }
  stream->begin();
  return stream.get();
}

grpc::ServerWriteReactor<v1::WatchResponse>* PipelineService::Watch(grpc::CallbackServerContext* context,
                                                                    const v1::WatchRequest* request) {
  using Refused = RefusedStream<grpc::ServerWriteReactor<v1::WatchResponse>>;
  if (request->wire_version() != kPipelineWireVersion) {
    return new Refused(absl::FailedPreconditionError(absl::StrCat(
        "the router speaks wire version ", request->wire_version(), ", this lead ", kPipelineWireVersion)));
  }
  const Duration interval = request->interval_ms() == 0
                                ? kDefaultInterval
                                : std::clamp<Duration>(std::chrono::milliseconds(request->interval_ms()),
                                                       kMinInterval, kMaxInterval);
  const auto stream = std::make_shared<WatchStream>(
      context, interval, request->with_prefix_digest() ? engine_.prefix_digest() : nullptr);
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return new Refused(stopping());
    if (watchers_.size() >= kMaxStreams) return new Refused(too_many_streams());
    stream->open();
    watchers_.push_back(stream);
  }
  changed_.notify_one();
  return stream.get();
}

// Sends the state to every watcher whose time has come; one that is behind misses a turn.
void PipelineService::watch() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    const bool state_changed = std::exchange(state_changed_, false);
    const Time time = now();
    Time next = time + kMaxInterval;
    std::erase_if(watchers_, [&](const std::shared_ptr<WatchStream>& watcher) {
      bool gone = false;
      if ((state_changed || watcher->due <= time) && watcher->idle()) {
        v1::WatchResponse response;
        response.set_sequence_number(++sequence_number_);
        to_proto(engine_.status(), served_.model, served_.backend, served_.limits.block_size, time,
                 &response);
        if (watcher->digest != nullptr) add_prefixes(*watcher->digest, watcher->known_prefixes, response);
        gone = !watcher->push(std::move(response));
      }
      if (watcher->due <= time) watcher->due = time + watcher->interval;
      next = std::min(next, watcher->due);
      return gone;
    });
    changed_.wait_until(lock, next, [&] {
      return stopped_ || state_changed_ ||
             std::any_of(watchers_.begin(), watchers_.end(),
                         [](const auto& watcher) { return watcher->due <= now(); });
    });
  }
}

grpc::ServerUnaryReactor* RegistryService::Register(grpc::CallbackServerContext* context,
                                                    const v1::RegisterRequest* request,
                                                    v1::RegisterResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::StatusOr<Registration> registration = from_proto(*request);
  if (!registration.ok()) {
    reactor->Finish(to_grpc(registration.status()));
    return reactor;
  }
  engine_.register_stage(*std::move(registration),
                         [reactor, response](const absl::StatusOr<uint64_t>& epoch) {
                           if (epoch.ok()) response->set_epoch(*epoch);
                           reactor->Finish(to_grpc(epoch.status()));
                         });
  return reactor;
}

}  // namespace octet::worker
