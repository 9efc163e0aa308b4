#include "router/routing/pipeline_client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status.h"
#include "octet/v1/pipeline.pb.h"
#include "router/routing/merge_outputs.h"

namespace octet::router {
namespace {

constexpr Duration kRetryAfter = std::chrono::seconds(1);

std::span<const uint64_t> names(const google::protobuf::RepeatedField<uint64_t>& field) {
  return {field.data(), static_cast<size_t>(field.size())};
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
      random_(std::random_device{}()) {}

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
  connection_ =
      options_.connect(loop_, address_, options_.watch_interval,
                       {.on_watch = [this](const v1::WatchResponse& state) { on_watch(state); },
                        .on_outputs = [this](const v1::SubmitResponse& response) { on_outputs(response); },
                        .on_end = [this](const std::string& reason) { lose(reason); }});
  expect_news();
}

void PipelineClient::on_watch(const v1::WatchResponse& state) {
  expect_news();
  num_failures_ = 0;
  has_news_ = true;
  take_load(state);

  bool usable = state.state() == v1::PIPELINE_STATE_READY;
  if (usable) {
    const absl::Status status = owner_.check(state);
    usable = status.ok();
    const std::string refusal(status.message());
    if (!usable && refusal != refusal_)
      spdlog::error("pipeline {} is not used: {}", address_, loggable(refusal, 512));
    refusal_ = refusal;
  }
  if (usable) connection_->open_submit();
  if (usable && !ready_) spdlog::info("pipeline {} is ready, epoch {}", address_, state.epoch());
  if (!usable && ready_) spdlog::warn("pipeline {} takes no sequences now", address_);
  set_ready(usable);
  owner_.on_room();
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
    if (is_last(output)) {
      forget(sequence);
      sequences_.erase(found);
    } else if (output.tokens_size() > 0 && sequence.num_prompt_tokens > 0) {
      forget_prompt(sequence);
    }
    events.on_output(output);  // may start or cancel any sequence
  }
}

void PipelineClient::lose(const std::string& reason) {
  if (!connection_) return;
  if (has_news_) {
    spdlog::warn("pipeline {} is lost with {} sequences: {}", address_, sequences_.size(), reason);
  } else if (num_failures_ == 0) {
    spdlog::warn("pipeline {} cannot be reached, trying on: {}", address_, reason);
  }
  close_connection();
  ++num_failures_;
  num_other_sequences_ = 0;
  num_other_prompt_tokens_ = 0;
  num_free_tokens_.reset();
  prefixes_.clear();
  set_ready(false);
  while (!sequences_.empty()) {
    auto sequence = sequences_.extract(sequences_.begin());
    forget(sequence.mapped());
    sequence.mapped().events->on_lost(unavailable("the pipeline that ran the request was lost", kRetryAfter));
  }
  reconnect_later();
}

void PipelineClient::close_connection() {
  if (!connection_) return;
  const auto connection = std::move(connection_);
  silence_timer_.cancel();
  for (std::shared_future<void>& stream : connection->close()) closing_.push_back(std::move(stream));
}

void PipelineClient::expect_news() {
  silence_timer_.expires_after(options_.silence_timeout);
  silence_timer_.async_wait([this, weak = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !weak.expired() && silence_timer_.expiry() <= now()) {
      lose(absl::StrCat("no news for ", seconds(options_.silence_timeout), " s"));
    }
  });
}

void PipelineClient::reconnect_later() {
  const Duration longest =
      std::min(options_.max_backoff, options_.min_backoff * (1 << std::min(num_failures_ - 1, 10)));
  std::uniform_int_distribution<Duration::rep> ticks((longest / 2).count(), longest.count());
  backoff_timer_.expires_after(Duration(ticks(random_)));
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
