// All pipelines that the router was given: checks that they serve one model, and sends each sequence to the
// ready one with the least load.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "router/metrics.h"
#include "router/request/validated_request.h"
#include "router/routing/pipeline.h"
#include "router/routing/pipeline_client.h"

namespace octet::router {

// Event loop only, from connect() to the loop's end; destroyed after the loop has stopped.
class PipelinePool final : public Pipelines {
 public:
  // vocab_size: of the router's tokenizer; a model with another one, padding aside, is not used. on_change
  // runs when num_ready() changed.
  PipelinePool(boost::asio::io_context& loop, const std::vector<std::string>& addresses,
               const PipelineClientOptions& options, uint32_t vocab_size, RouterMetrics& metrics,
               std::function<void()> on_change);
  ~PipelinePool() override;

  // Begins to connect to all.
  void connect();

  absl::StatusOr<SequenceHandle> start(v1::StartSequence sequence, SequenceEvents& events) override;
  void cancel(const SequenceHandle& handle) override;

  size_t num_ready() const;
  // What the first ready pipeline serves; all others must serve the same. Never changes once it is there.
  const std::optional<ModelInfo>& model() const { return model_; }

 private:
  absl::Status check(const v1::WatchResponse& state);
  void on_client_change();

  const uint32_t vocab_size_;
  RouterMetrics& metrics_;
  const std::function<void()> on_change_;
  std::vector<std::unique_ptr<PipelineClient>> clients_;  // [addresses]
  std::optional<ModelInfo> model_;
  uint64_t next_sequence_id_ = 1;
  size_t first_choice_ = 0;  // among equals; moves on so that they take turns
};

// "HOST:PORT" each, none twice. Errors: invalid_field("--pipeline") with the entry.
absl::Status check_pipeline_addresses(const std::vector<std::string>& addresses);

}  // namespace octet::router
