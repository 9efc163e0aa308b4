#include "router/routing/pipeline_client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status.h"
#include "base/wire_version.h"
#include "octet/v1/pipeline.pb.h"
#include "router/routing/sequence_output.h"

namespace octet::router {
namespace {

std::span<const uint64_t> names(const google::protobuf::RepeatedField<uint64_t>& field) {
  return {field.data(), static_cast<size_t>(field.size())};
}

// Of the pipeline, not of the request or of its deadline; one that drains says so.
bool is_failure(const v1::SequenceOutput& output) {
  switch (static_cast<absl::StatusCode>(output.error_code())) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnavailable:
      return false;
    default:
      return true;
  }
}

bool is_done(const std::shared_future<void>& stream) {
  return stream.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

}  // namespace

PipelineClient::PipelineClient(boost::asio::io_context& loop, std::string address,
                               const PipelineClientOptions& options, Owner owner)
    : loop_(loop),
      address_(std::move(address)),
      options_(options),
      owner_(std::move(owner)),
      silence_timer_(loop),
      backoff_timer_(loop),
      random_(std::random_device{}()),
      circuit_(options.circuit) {}

PipelineClient::~PipelineClient() {
  close_connection();
  for (const auto& stream : closing_) stream.wait();
}

void PipelineClient::disconnect() {
  close_connection();
  backoff_timer_.cancel();
  set_ready(false);
}

bool PipelineClient::disconnected() const {
  return !connection_ && std::all_of(closing_.begin(), closing_.end(), is_done);
}

void PipelineClient::connect() {
  std::erase_if(closing_, is_done);
  has_news_ = false;
  draining_ = false;
  connection_ =
      options_.connect(loop_, address_, options_.watch_interval,
                       {.on_watch = [this](const v1::WatchResponse& state) { on_watch(state); },
                        .on_outputs = [this](const v1::SubmitResponse& response) { on_outputs(response); },
                        .on_end =
                            [this](const std::string& why) {
                              lose(draining_ ? MoveReason::kDraining : MoveReason::kLost, why);
                            }});
  silence_.news();
  watch_silence();
}

void PipelineClient::on_watch(const v1::WatchResponse& state) {
  if (state.state() == v1::PIPELINE_STATE_STALLED)
    return lose(MoveReason::kHung, "the lead makes no progress");
  silence_.news();
  num_failures_ = 0;
  has_news_ = true;
  draining_ = state.state() == v1::PIPELINE_STATE_DRAINING;
  take_load(state);

  bool usable = state.state() == v1::PIPELINE_STATE_READY;
  if (usable) {
    const absl::Status status = check(state);
    usable = status.ok();
    const std::string refusal(status.message());
    if (!usable && refusal != refusal_)
      spdlog::error("pipeline {} is not used: {}", address_, loggable(refusal, 512));
    refusal_ = refusal;
  }
  if (usable) connection_->open_submit();
  if (usable && !ready_) spdlog::info("pipeline {} is ready, epoch {}", address_, state.epoch());
  if (!usable && ready_) spdlog::warn("pipeline {} takes no sequences now", address_);
  if (state.state() != v1::PIPELINE_STATE_FORMING) pausing_since_.reset();
  if (ready_ && state.state() == v1::PIPELINE_STATE_FORMING) pausing_since_ = now();
  set_ready(usable);
  if (draining_) tell_draining(now() + std::chrono::milliseconds(state.drain_left_ms()));
  owner_.on_room();
}

void PipelineClient::tell_draining(Time end) {
  std::vector<uint64_t> ids;
  for (const auto& [id, sequence] : sequences_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());  // the oldest first
  for (const uint64_t id : ids) {
    const auto found = sequences_.find(id);
    if (found != sequences_.end()) found->second.events->on_draining(end);
  }
}

absl::Status PipelineClient::check(const v1::WatchResponse& state) const {
  if (state.wire_version() == kPipelineWireVersion) return owner_.check(state);
  return absl::FailedPreconditionError(absl::StrCat("its lead speaks wire version ", state.wire_version(),
                                                    ", this router ", kPipelineWireVersion));
}

// What was sent while the news was on its way is missing in it, and what ended is still there: others appear
// to have a little less or more until the next one.
void PipelineClient::take_load(const v1::WatchResponse& state) {
  const auto beyond = [](uint64_t all, uint64_t own) { return all > own ? all - own : 0; };
  num_other_sequences_ =
      beyond(uint64_t{state.running_sequences()} + state.waiting_sequences(), sequences_.size());
  num_other_prompt_tokens_ = beyond(state.outstanding_prompt_tokens(), num_own_prompt_tokens_);
  num_free_tokens_.reset();
  if (state.total_blocks() > 0) {
    num_free_tokens_ = int64_t{state.free_blocks()} * state.block_size_tokens();
  }
  block_size_tokens_ = state.block_size_tokens();
  if (state.has_prefix_digest()) {
    const v1::PrefixDigest& digest = state.prefix_digest();
    prefixes_.apply(digest.base_version(), digest.version(), names(digest.added()), names(digest.removed()));
  }
}

PipelineLoad PipelineClient::load() const {
  PipelineLoad load{.num_sequences = sequences_.size() + num_other_sequences_,
                    .num_prompt_tokens = num_own_prompt_tokens_ + num_other_prompt_tokens_,
                    .num_free_tokens = std::nullopt};
  if (num_free_tokens_) load.num_free_tokens = static_cast<uint64_t>(std::max<int64_t>(*num_free_tokens_, 0));
  return load;
}

void PipelineClient::forget_prompt(Sequence& sequence) {
  num_own_prompt_tokens_ -= std::exchange(sequence.num_prompt_tokens, 0);
  owner_.on_room();
}

void PipelineClient::forget(Sequence& sequence) {
  if (num_free_tokens_) *num_free_tokens_ += static_cast<int64_t>(sequence.num_tokens);
  forget_prompt(sequence);
}

void PipelineClient::start(v1::StartSequence sequence, SequenceEvents& events) {
  const auto num_tokens =
      static_cast<uint64_t>(sequence.prompt_tokens_size()) + sequence.generated_tokens_size();
  sequences_.emplace(sequence.sequence_id(),
                     Sequence{.events = &events, .num_prompt_tokens = num_tokens, .num_tokens = num_tokens});
  num_own_prompt_tokens_ += num_tokens;
  if (num_free_tokens_) *num_free_tokens_ -= static_cast<int64_t>(num_tokens);
  circuit_.started(now());
  connection_->start(std::move(sequence));
}

void PipelineClient::cancel(uint64_t sequence_id) {
  auto sequence = sequences_.extract(sequence_id);
  if (!sequence) return;
  forget(sequence.mapped());
  if (connection_) connection_->cancel(sequence_id);
}

void PipelineClient::on_outputs(const v1::SubmitResponse& response) {
  for (const v1::SequenceOutput& output : response.outputs()) {
    const auto found = sequences_.find(output.sequence_id());
    if (found == sequences_.end()) continue;  // cancelled while this was on its way
    Sequence& sequence = found->second;
    SequenceEvents& events = *sequence.events;
    sequence.num_tokens += output.tokens_size();
    if (is_failure(output)) {
      count_failure();
    } else if (output.tokens_size() > 0) {
      count_success();
    }
    if (is_last(output)) {
      forget(sequence);
      sequences_.erase(found);
    } else if (output.tokens_size() > 0 && sequence.num_prompt_tokens > 0) {
      forget_prompt(sequence);
    }
    events.on_output(output);  // may start or cancel any sequence
  }
}

void PipelineClient::lose(MoveReason reason, const std::string& why) {
  if (!connection_) return;
  if (has_news_) {
    spdlog::warn("pipeline {} is lost with {} sequences: {}", address_, sequences_.size(), why);
  } else if (num_failures_ == 0) {
    spdlog::warn("pipeline {} cannot be reached, trying on: {}", address_, why);
  }
  close_connection();
  if (!sequences_.empty() && reason != MoveReason::kDraining) count_failure();
  ++num_failures_;
  num_other_sequences_ = 0;
  num_other_prompt_tokens_ = 0;
  num_free_tokens_.reset();
  prefixes_.clear();
  pausing_since_.reset();
  set_ready(false);
  while (!sequences_.empty()) {
    auto sequence = sequences_.extract(sequences_.begin());
    forget(sequence.mapped());
    sequence.mapped().events->on_lost(reason);
  }
  reconnect_later();
}

void PipelineClient::close_connection() {
  if (!connection_) return;
  const auto connection = std::move(connection_);
  silence_timer_.cancel();
  for (std::shared_future<void>& stream : connection->close()) closing_.push_back(std::move(stream));
}

void PipelineClient::watch_silence() {
  silence_timer_.expires_after(Silence::period(options_.silence_timeout));
  silence_timer_.async_wait([this, weak = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (error || weak.expired() || !connection_) return;
    if (!silence_.tick()) return watch_silence();
    lose(MoveReason::kHung, absl::StrCat("no news for ", seconds(options_.silence_timeout), " s"));
  });
}

void PipelineClient::count_success() {
  if (!circuit_.is_clean()) circuit_.succeeded(now());
}

void PipelineClient::count_failure() {
  const auto open = circuit_.failed(now(), random_());
  if (open)
    spdlog::warn("pipeline {} fails its sequences and is left alone for {:.1f} s", address_, seconds(*open));
}

void PipelineClient::reconnect_later() {
  backoff_timer_.expires_after(options_.backoff.delay(num_failures_, random_()));
  backoff_timer_.async_wait([this, weak = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !weak.expired()) connect();
  });
}

void PipelineClient::set_ready(bool ready) {
  if (ready == ready_) return;
  ready_ = ready;
  owner_.on_change();
}

}  // namespace octet::router
