// The connection to one lead: its Watch stream (state and load) and its Submit stream (sequences). Reconnects
// for ever. Which pipeline gets a sequence is PipelinePool's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "router/routing/backoff.h"
#include "router/routing/circuit.h"
#include "router/routing/lead_connection.h"
#include "router/routing/pipeline.h"
#include "router/routing/prefix_index.h"
#include "router/routing/selector.h"
#include "router/routing/silence.h"

namespace octet::router {

struct PipelineClientOptions {
  // Short, since the news tells what other routers have sent.
  Duration watch_interval = std::chrono::milliseconds(100);
  // A lead that says nothing on its Watch stream for so long counts as hung.
  Duration silence_timeout = std::chrono::seconds(10);
  // Between two attempts to connect.
  Backoff backoff = {.min = std::chrono::milliseconds(100), .max = std::chrono::seconds(5)};
  // A pipeline that was ready and forms again is expected back for so long.
  Duration max_pause = std::chrono::minutes(2);
  Circuit::Limits circuit;
  ConnectToLead connect = connect_by_grpc(nullptr);
};

// Event loop only, or after the loop has stopped. Not destroyed inside its own callbacks.
class PipelineClient {
 public:
  struct Owner {
    // Whether the router can use this pipeline. Errors: any, and the text says why not.
    std::function<absl::Status(const v1::WatchResponse&)> check;
    std::function<void()> on_change;  // ready() may have changed
    std::function<void()> on_room;    // the load may have become less
  };

  PipelineClient(boost::asio::io_context& loop, std::string address, const PipelineClientOptions& options,
                 Owner owner);
  // Ends both streams and waits for gRPC to let go of them.
  ~PipelineClient();

  // Begins to connect.
  void connect();
  // Ends both streams, for good; there must be no sequences.
  void disconnect();
  // Whether gRPC has let go of the streams, so that the destructor does not wait.
  bool disconnected() const;
  // Connected, serving, and checked by the owner.
  bool ready() const { return ready_; }
  // Was ready on this connection, and forms again, not for too long yet.
  bool pausing(Time now) const { return pausing_since_ && now - *pausing_since_ < options_.max_pause; }
  // Has not failed sequence after sequence.
  const Circuit& circuit() const { return circuit_; }
  // This router's part is exact; that of others is what the last news told beyond it.
  PipelineLoad load() const;
  // What its prefix cache holds, in blocks of this many tokens.
  const PrefixIndex& prefixes() const { return prefixes_; }
  uint32_t block_size_tokens() const { return block_size_tokens_; }
  // This router's, not ended.
  size_t num_own_sequences() const { return sequences_.size(); }

  // Only when ready.
  void start(v1::StartSequence sequence, SequenceEvents& events);
  void cancel(uint64_t sequence_id);

 private:
  // A sequence of this router that the pipeline has.
  struct Sequence {
    SequenceEvents* events = nullptr;
    uint64_t num_prompt_tokens = 0;  // to compute before its first output
    uint64_t num_tokens = 0;         // prompt and output
  };

  void on_watch(const v1::WatchResponse& state);
  // Whether this router can use the pipeline. Errors: any, and the text says why not.
  absl::Status check(const v1::WatchResponse& state) const;
  void tell_draining(Time end);
  void take_load(const v1::WatchResponse& state);
  // The pipeline computes a sequence's prompt no more.
  void forget_prompt(Sequence& sequence);
  // A sequence has ended, and its blocks are or will be free.
  void forget(Sequence& sequence);
  void on_outputs(const v1::SubmitResponse& response);
  // The connection is no more, and what comes over it is not heard: its sequences are lost, another one is
  // tried after a while.
  void lose(MoveReason reason, const std::string& why);
  void close_connection();
  void watch_silence();
  // A sequence that the pipeline had got on, or was failed by it.
  void count_success();
  void count_failure();
  void reconnect_later();
  void set_ready(bool ready);

  boost::asio::io_context& loop_;
  const std::string address_;
  const PipelineClientOptions options_;
  const Owner owner_;
  boost::asio::steady_timer silence_timer_;
  boost::asio::steady_timer backoff_timer_;
  std::mt19937_64 random_;

  std::unique_ptr<LeadConnection> connection_;
  bool has_news_ = false;                          // the lead has answered on this connection
  bool draining_ = false;                          // at the last news
  std::vector<std::shared_future<void>> closing_;  // streams that gRPC may still hold
  std::unordered_map<uint64_t, Sequence> sequences_;
  bool ready_ = false;
  std::optional<Time> pausing_since_;
  uint64_t num_own_prompt_tokens_ = 0;  // over sequences_
  // Of other routers, at the last news.
  uint64_t num_other_sequences_ = 0;
  uint64_t num_other_prompt_tokens_ = 0;
  // At the last news, less what was sent since and plus what ended since.
  std::optional<int64_t> num_free_tokens_;
  PrefixIndex prefixes_;
  uint32_t block_size_tokens_ = 0;
  Silence silence_;
  Circuit circuit_;
  uint32_t num_failures_ = 0;  // attempts to connect since the last news
  std::string refusal_;        // why the owner does not use this pipeline; logged once
  // Handlers of timers may run after the end.
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace octet::router
