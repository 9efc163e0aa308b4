// All pipelines that the router uses: checks that they serve one model, and chooses one for each request.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "router/metrics.h"
#include "router/request/validated_request.h"
#include "router/routing/pipeline.h"
#include "router/routing/pipeline_client.h"
#include "router/routing/selector.h"

namespace octet::router {

// Event loop only, from the first use() to the loop's end; destroyed after the loop has stopped.
class PipelinePool final : public Pipelines {
 public:
  struct Options {
    PipelineClientOptions client;
    RoomLimits room;
    uint32_t vocab_size =
        0;  // of the router's tokenizer; a model with another one, padding aside, is not used
  };
  struct Events {
    std::function<void()> on_change;  // num_ready() changed
    std::function<void()> on_room;    // a pipeline may have more room
  };
  PipelinePool(boost::asio::io_context& loop, const Options& options, RouterMetrics& metrics, Events events);
  ~PipelinePool() override;

  // From now on the pipelines are those whose leads have these addresses, "HOST:PORT" each. One that is not
  // among them any more takes no new sequences, and is let go when its last has ended.
  void use(const std::vector<std::string>& addresses);

  absl::StatusOr<std::optional<PipelineId>> choose(const Placement& placement) override;
  bool is_pausing() const override;
  SequenceHandle start(PipelineId pipeline, v1::StartSequence sequence, SequenceEvents& events) override;
  void cancel(const SequenceHandle& handle) override;

  size_t num_ready() const;
  // What the first ready pipeline serves; all others must serve the same. Never changes once it is there.
  const std::optional<ModelInfo>& model() const { return model_; }

 private:
  struct Member {
    std::string address;
    bool used = true;   // false: finishes its sequences and goes
    bool left = false;  // it is about to be gone
    std::unique_ptr<PipelineClient> client;
    bool takes_sequences() const { return used && client->ready(); }
  };

  void add(const std::string& address);
  void let_go_of_unused();
  absl::Status check(const v1::WatchResponse& state);
  void count_pipelines();
  void on_client_change();

  boost::asio::io_context& loop_;
  const Options options_;
  RouterMetrics& metrics_;
  const Events events_;
  std::map<PipelineId, Member> members_;
  std::optional<ModelInfo> model_;
  PipelineId next_pipeline_ = 1;
  uint64_t next_sequence_id_ = 1;
  boost::asio::steady_timer let_go_timer_;
  std::mt19937_64 random_;
};

}  // namespace octet::router
