// The Generator of the router: takes requests, keeps those that wait in the queue, and starts each on a
// pipeline when one has room. What a pipeline that was lost or drains had, goes on elsewhere, before anything
// new. Owns all state of requests in flight; knows nothing of sockets or of how a
// pipeline is reached.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <unordered_map>

#include "base/clock.h"
#include "router/generation/generation.h"
#include "router/generation/moves.h"
#include "router/generation/running_request.h"
#include "router/metrics.h"
#include "router/queue/request_queue.h"
#include "router/routing/pipeline.h"
#include "router/tokenizer/tokenizer.h"

namespace octet::router {

class PipelineGenerator final : public Generator {
 public:
  struct Limits {
    uint32_t max_requests = 2048;   // in flight, those that wait included
    uint32_t max_sequences = 4096;  // in flight: choices, over all requests
    QueueLimits queue;
    MoveLimits moves;
    // How long after its deadline a request that the pipeline did not end is ended here.
    Duration deadline_grace = std::chrono::seconds(1);
  };

  // All of these, and the generator itself, live until the loop has stopped. Event loop only from here on.
  PipelineGenerator(boost::asio::io_context& loop, Pipelines& pipelines,
                    std::shared_ptr<const Tokenizer> tokenizer, RouterMetrics& metrics, const Limits& limits);
  ~PipelineGenerator() override;

  // Never calls the sink before it returns. Errors come through the sink: quota_exceeded() past a limit or
  // when its deadline is hopeless, unavailable() while draining or without a ready pipeline.
  GenerationId start(ValidatedRequest request, std::shared_ptr<GenerationSink> sink) override;
  void cancel(GenerationId id) override;

  // A pipeline may have more room, or come or go: starts what waits, soon.
  void on_room();
  // From now on new requests are refused as UNAVAILABLE; those in flight and those that wait go on.
  void drain() { draining_ = true; }
  // Requests whose sinks have not had their last call.
  size_t num_requests() const { return in_flight_.size() + refused_.size(); }

 private:
  struct Entry {
    std::shared_ptr<RunningRequest> request;
    // While it waits.
    std::optional<InFlight> queue_request = {};
    std::optional<InFlight> queue_tokens = {};
  };
  using RefusalReason = RouterMetrics::RefusalReason;

  // Errors: what a request of this many sequences is refused with now.
  absl::Status admit(uint32_t num_sequences);
  // Starts the request, or lets it wait.
  absl::Status start_or_wait(GenerationId id);
  absl::Status run(GenerationId id, PipelineId pipeline);
  absl::Status wait(GenerationId id);
  absl::Status refusal(const RequestQueue::Push& push, const QueuedRequest& request);
  absl::Status refused(RefusalReason reason, const absl::Status& status);
  RunningRequest::Owner owner_of(GenerationId id, const ValidatedRequest& request);
  Moves::Verdict leave(const Moves::Leaving& leaving);
  void hand_over(const Moves::Id& id);
  // Starts what waits and has room now, and ends what waited past its deadline.
  void dispatch();
  // Returns whether newcomers may have what room there is: nothing that moves waits for it.
  bool resume_moves();
  void start_queued();
  void fail(GenerationId id, const absl::Status& status);
  void watch_times();
  void remove(GenerationId id);

  boost::asio::io_context& loop_;
  Pipelines& pipelines_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  RouterMetrics& metrics_;
  const Limits limits_;
  bool draining_ = false;
  GenerationId next_id_ = 1;
  uint32_t num_sequences_ = 0;  // over in_flight_
  std::unordered_map<GenerationId, Entry> in_flight_;
  std::unordered_map<GenerationId, std::shared_ptr<GenerationSink>> refused_;  // and not told yet
  RequestQueue queue_;
  Moves moves_;
  bool will_dispatch_ = false;
  boost::asio::steady_timer timer_;  // of the earliest time at which something that waits has to be looked at
  std::mt19937_64 random_;
};

}  // namespace octet::router
