// The connection to one lead: its Watch stream (state and load) and its Submit stream (sequences). Reconnects
// for ever. Which pipeline gets a sequence is PipelinePool's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "router/routing/pipeline.h"

namespace octet::v1 {
class SubmitResponse;
class WatchResponse;
}  // namespace octet::v1

namespace octet::router {

struct PipelineClientOptions {
  Duration watch_interval = std::chrono::milliseconds(500);
  // A lead that says nothing on its Watch stream for so long counts as lost.
  Duration silence_timeout = std::chrono::seconds(10);
  // Between two attempts to connect: doubles from the first to the last, and half of it is random.
  Duration min_backoff = std::chrono::milliseconds(100);
  Duration max_backoff = std::chrono::seconds(5);
};

// Event loop only, from start() to the loop's end; destroyed after the loop has stopped.
class PipelineClient {
 public:
  struct Owner {
    // Whether the router can use this pipeline. Errors: any, and the text says why not.
    std::function<absl::Status(const v1::WatchResponse&)> check;
    std::function<void()> on_change;  // ready() may have changed
  };

  PipelineClient(boost::asio::io_context& loop, std::string address, const PipelineClientOptions& options,
                 Owner owner);
  // Ends both streams and waits for gRPC to let go of them.
  ~PipelineClient();

  // Begins to connect.
  void connect();
  // Connected, serving, and checked by the owner.
  bool ready() const { return ready_; }
  // Sequences that the pipeline has: those it told, and those sent since.
  uint64_t load() const { return reported_load_ + num_sent_since_report_; }

  // Only when ready.
  void start(v1::StartSequence sequence, SequenceEvents& events);
  void cancel(uint64_t sequence_id);

 private:
  struct Connection;

  void on_watch(const v1::WatchResponse& state);
  void on_outputs(const v1::SubmitResponse& response);
  void open_submit();
  // The connection is no more: its sequences are lost, another is tried after a while.
  void lose(const std::string& reason);
  void close_connection();
  void expect_news();
  void reconnect_later();
  void set_ready(bool ready);

  boost::asio::io_context& loop_;
  const std::string address_;
  const PipelineClientOptions options_;
  const Owner owner_;
  boost::asio::steady_timer silence_timer_;
  boost::asio::steady_timer backoff_timer_;
  std::minstd_rand random_;

  std::unique_ptr<Connection> connection_;
  std::vector<std::shared_future<void>> closing_;  // streams that gRPC may still hold
  std::unordered_map<uint64_t, SequenceEvents*> sequences_;
  bool ready_ = false;
  uint64_t reported_load_ = 0;
  uint64_t num_sent_since_report_ = 0;
  int num_failures_ = 0;  // attempts to connect since the last news
  std::string refusal_;   // why the owner does not use this pipeline; logged once
};

}  // namespace octet::router
