#include <utility>

#include "base/credentials.h"
#include "base/grpc_server.h"
#include "base/log.h"
#include "base/wire_version.h"
#include "octet/v1/pipeline.grpc.pb.h"
#include "router/routing/lead_connection.h"
#include "router/routing/loop_stream.h"
#include "router/routing/merge_outputs.h"
#include "router/routing/submit_stream.h"

namespace octet::router {
namespace {

using WatchStream = LoopStream<grpc::ClientReadReactor<v1::WatchResponse>, v1::WatchResponse>;

class GrpcLeadConnection final : public LeadConnection {
 public:
  // A new channel each time: no back-off of its own, and the name is resolved again.
  GrpcLeadConnection(boost::asio::io_context& loop, const std::string& address, Duration watch_interval,
                     TlsFiles* cluster, Events events)
      : loop_(loop),
        events_(std::move(events)),
        stub_(v1::Pipeline::NewStub(internal_channel(address, cluster))) {
    watch_request_.set_interval_ms(
        static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(watch_interval).count()));
    watch_request_.set_with_prefix_digest(true);
    watch_request_.set_wire_version(kPipelineWireVersion);
    watch_ = std::make_shared<WatchStream>(loop_, WatchStream::Events{events_.on_watch, on_end()});
    stub_->async()->Watch(watch_->context(), &watch_request_, watch_.get());
    watch_->open();
  }

  void open_submit() override {
    if (submit_) return;
    submit_ =
        std::make_shared<SubmitStream>(loop_, SubmitStream::Events{events_.on_outputs, on_end(), in_one});
    stub_->async()->Submit(submit_->context(), submit_.get());
    submit_->open();
  }

  void start(v1::StartSequence sequence) override { submit_->start(std::move(sequence)); }
  void cancel(uint64_t sequence_id) override { submit_->cancel(sequence_id); }

  std::vector<std::shared_future<void>> close() override {
    std::vector<std::shared_future<void>> done = {watch_->done()};
    watch_->close();
    if (submit_) {
      done.push_back(submit_->done());
      submit_->close();
    }
    return done;
  }

 private:
  std::function<void(const grpc::Status&)> on_end() const {
    return [on_end = events_.on_end](const grpc::Status& status) {
      on_end(loggable(status.error_message(), 256));
    };
  }

  boost::asio::io_context& loop_;
  const Events events_;
  const std::unique_ptr<v1::Pipeline::Stub> stub_;
  v1::WatchRequest watch_request_;
  std::shared_ptr<WatchStream> watch_;
  std::shared_ptr<SubmitStream> submit_;
};

}  // namespace

ConnectToLead connect_by_grpc(std::shared_ptr<TlsFiles> cluster) {
  return [cluster = std::move(cluster)](boost::asio::io_context& loop, const std::string& address,
                                        Duration watch_interval, LeadConnection::Events events) {
    return std::make_unique<GrpcLeadConnection>(loop, address, watch_interval, cluster.get(),
                                                std::move(events));
  };
}

}  // namespace octet::router
