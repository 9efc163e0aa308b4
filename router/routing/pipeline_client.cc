#include "router/routing/pipeline_client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/grpc_server.h"
#include "base/log.h"
#include "base/status.h"
#include "octet/v1/pipeline.grpc.pb.h"
#include "router/routing/loop_stream.h"
#include "router/routing/submit_stream.h"

namespace octet::router {
namespace {

using WatchStream = LoopStream<grpc::ClientReadReactor<v1::WatchResponse>, v1::WatchResponse>;

constexpr Duration kRetryAfter = std::chrono::seconds(1);

}  // namespace

struct PipelineClient::Connection {
  std::unique_ptr<v1::Pipeline::Stub> stub;
  v1::WatchRequest watch_request;
  std::shared_ptr<WatchStream> watch;
  std::shared_ptr<SubmitStream> submit;  // once the pipeline was ready
  bool has_news = false;                 // the lead has answered
};

PipelineClient::PipelineClient(boost::asio::io_context& loop, std::string address,
                               const PipelineClientOptions& options, Owner owner)
    : loop_(loop),
      address_(std::move(address)),
      options_(options),
      owner_(std::move(owner)),
      silence_timer_(loop),
      backoff_timer_(loop),
      random_(std::random_device{}()) {}

PipelineClient::~PipelineClient() {
  close_connection();
  for (const auto& stream : closing_) stream.wait();
}

void PipelineClient::connect() {
  std::erase_if(closing_, [](const auto& stream) {
    return stream.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
  connection_ = std::make_unique<Connection>();
  // A new channel each time: no back-off of its own, and the name is resolved again.
  connection_->stub = v1::Pipeline::NewStub(internal_channel(address_));
  connection_->watch_request.set_interval_ms(static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(options_.watch_interval).count()));
  connection_->watch = std::make_shared<WatchStream>(
      loop_, WatchStream::Events{
                 [this](const v1::WatchResponse& state) { on_watch(state); },
                 [this](const grpc::Status& status) { lose(loggable(status.error_message(), 256)); }});
  connection_->stub->async()->Watch(connection_->watch->context(), &connection_->watch_request,
                                    connection_->watch.get());
  connection_->watch->open();
  expect_news();
}

void PipelineClient::on_watch(const v1::WatchResponse& state) {
  expect_news();
  num_failures_ = 0;
  connection_->has_news = true;
  reported_load_ = uint64_t{state.running_sequences()} + state.waiting_sequences();
  num_sent_since_report_ = 0;

  bool usable = state.state() == v1::PIPELINE_STATE_READY;
  if (usable) {
    const absl::Status status = owner_.check(state);
    usable = status.ok();
    const std::string refusal(status.message());
    if (!usable && refusal != refusal_)
      spdlog::error("pipeline {} is not used: {}", address_, loggable(refusal, 512));
    refusal_ = refusal;
  }
  if (usable && !connection_->submit) open_submit();
  if (usable && !ready_) spdlog::info("pipeline {} is ready, epoch {}", address_, state.epoch());
  if (!usable && ready_) spdlog::warn("pipeline {} takes no sequences now", address_);
  set_ready(usable);
}

void PipelineClient::open_submit() {
  const auto submit = std::make_shared<SubmitStream>(
      loop_, SubmitStream::Events{
                 [this](const v1::SubmitResponse& response) { on_outputs(response); },
                 [this](const grpc::Status& status) { lose(loggable(status.error_message(), 256)); }});
  connection_->submit = submit;
  connection_->stub->async()->Submit(submit->context(), submit.get());
  submit->open();
}

void PipelineClient::start(v1::StartSequence sequence, SequenceEvents& events) {
  sequences_.emplace(sequence.sequence_id(), &events);
  ++num_sent_since_report_;
  connection_->submit->start(std::move(sequence));
}

void PipelineClient::cancel(uint64_t sequence_id) {
  if (sequences_.erase(sequence_id) == 0) return;
  if (connection_ && connection_->submit) connection_->submit->cancel(sequence_id);
}

void PipelineClient::on_outputs(const v1::SubmitResponse& response) {
  for (const v1::SequenceOutput& output : response.outputs()) {
    const auto found = sequences_.find(output.sequence_id());
    if (found == sequences_.end()) continue;  // cancelled while this was on its way
    SequenceEvents& events = *found->second;
    const bool is_last = output.error_code() != 0 || output.finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
    if (is_last) sequences_.erase(found);
    events.on_output(output);  // may start or cancel any sequence
  }
}

void PipelineClient::lose(const std::string& reason) {
  if (!connection_) return;
  if (connection_->has_news) {
    spdlog::warn("pipeline {} is lost with {} sequences: {}", address_, sequences_.size(), reason);
  } else if (num_failures_ == 0) {
    spdlog::warn("pipeline {} cannot be reached, trying on: {}", address_, reason);
  }
  close_connection();
  ++num_failures_;
  reported_load_ = 0;
  num_sent_since_report_ = 0;
  set_ready(false);
  while (!sequences_.empty()) {
    const auto sequence = sequences_.extract(sequences_.begin());
    sequence.mapped()->on_lost(unavailable("the pipeline that ran the request was lost", kRetryAfter));
  }
  reconnect_later();
}

void PipelineClient::close_connection() {
  if (!connection_) return;
  const auto connection = std::move(connection_);
  silence_timer_.cancel();
  closing_.push_back(connection->watch->done());
  connection->watch->close();
  if (connection->submit) {
    closing_.push_back(connection->submit->done());
    connection->submit->close();
  }
}

void PipelineClient::expect_news() {
  silence_timer_.expires_after(options_.silence_timeout);
  silence_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error && silence_timer_.expiry() <= now()) {
      lose(absl::StrCat("no news for ", seconds(options_.silence_timeout), " s"));
    }
  });
}

void PipelineClient::reconnect_later() {
  const Duration longest =
      std::min(options_.max_backoff, options_.min_backoff * (1 << std::min(num_failures_ - 1, 10)));
  std::uniform_int_distribution<Duration::rep> ticks((longest / 2).count(), longest.count());
  backoff_timer_.expires_after(Duration(ticks(random_)));
  backoff_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) connect();
  });
}

void PipelineClient::set_ready(bool ready) {
  if (ready == ready_) return;
  ready_ = ready;
  owner_.on_change();
}

}  // namespace octet::router
