// The Generator of the router: one sequence on a pipeline for each choice of a request. Owns all state of
// requests in flight; knows nothing of sockets or of how a pipeline is reached.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "base/clock.h"
#include "router/generation/generation.h"
#include "router/metrics.h"
#include "router/routing/pipeline.h"
#include "router/tokenizer/tokenizer.h"

namespace octet::router {

class RunningRequest;

class PipelineGenerator final : public Generator {
 public:
  struct Limits {
    uint32_t max_requests = 1024;   // in flight
    uint32_t max_sequences = 4096;  // in flight: choices, over all requests
    // How long after its deadline a request that the pipeline did not end is ended here.
    Duration deadline_grace = std::chrono::seconds(1);
  };

  // All of these, and the generator itself, live until the loop has stopped. Event loop only from here on.
  PipelineGenerator(boost::asio::io_context& loop, Pipelines& pipelines,
                    std::shared_ptr<const Tokenizer> tokenizer, RouterMetrics& metrics, const Limits& limits);
  ~PipelineGenerator() override;

  // Never calls the sink before it returns. Errors come through the sink: overloaded() past a limit,
  // unavailable() while draining or without a ready pipeline.
  GenerationId start(ValidatedRequest request, std::shared_ptr<GenerationSink> sink) override;
  void cancel(GenerationId id) override;

  // From now on new requests are refused as UNAVAILABLE; those in flight go on.
  void drain() { draining_ = true; }
  // Requests whose sinks have not had their last call.
  size_t num_requests() const { return running_.size() + refused_.size(); }

 private:
  struct Entry {
    std::shared_ptr<RunningRequest> request;
    uint32_t num_sequences = 0;
  };

  // Errors: what a request of this many sequences is refused with now.
  absl::Status admit(uint32_t num_sequences) const;
  void remove(GenerationId id);

  boost::asio::io_context& loop_;
  Pipelines& pipelines_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  RouterMetrics& metrics_;
  const Limits limits_;
  bool draining_ = false;
  GenerationId next_id_ = 1;
  uint32_t num_sequences_ = 0;  // in running_
  std::unordered_map<GenerationId, Entry> running_;
  std::unordered_map<GenerationId, std::shared_ptr<GenerationSink>> refused_;  // and not told yet
};

}  // namespace octet::router
