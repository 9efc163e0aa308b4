// The two streams to one lead, Watch and Submit, whatever carries them. What they mean is PipelineClient's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"

namespace octet {
class TlsFiles;
}

namespace octet::v1 {
class StartSequence;
class SubmitResponse;
class WatchResponse;
}  // namespace octet::v1

namespace octet::router {

// Event loop only, events included.
class LeadConnection {
 public:
  struct Events {
    std::function<void(const v1::WatchResponse&)> on_watch;
    std::function<void(const v1::SubmitResponse&)> on_outputs;
    // One of the streams has ended. Called until close(), and for both.
    std::function<void(const std::string& reason)> on_end;
  };

  virtual ~LeadConnection() = default;
  // Opens the Submit stream, unless it is open.
  virtual void open_submit() = 0;
  // Once Submit is open.
  virtual void start(v1::StartSequence sequence) = 0;
  // Of a sequence that was started.
  virtual void cancel(uint64_t sequence_id) = 0;
  // Ends both streams; no event comes any more. What is returned is ready when they are let go of, whether or
  // not the loop runs.
  virtual std::vector<std::shared_future<void>> close() = 0;
};

// Opens a connection with its Watch stream to the lead at "HOST:PORT".
using ConnectToLead =
    std::function<std::unique_ptr<LeadConnection>(boost::asio::io_context& loop, const std::string& address,
                                                  Duration watch_interval, LeadConnection::Events events)>;

// Over gRPC; the loop outlives what it connects. cluster: null: no TLS towards leads.
ConnectToLead connect_by_grpc(std::shared_ptr<TlsFiles> cluster);

}  // namespace octet::router
