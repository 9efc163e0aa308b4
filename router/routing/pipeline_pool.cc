#include "router/routing/pipeline_pool.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "octet/v1/pipeline.pb.h"

namespace octet::router {
namespace {

constexpr Duration kRetryAfter = std::chrono::seconds(1);
// NeMo pads the vocabulary to a multiple of 128 times the tensor-parallel size.
constexpr uint32_t kMaxPaddingTokens = 128 * 8;

bool is_host_and_port(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  const char* const end = address.data() + address.size();
  int port = 0;
  const auto parsed = std::from_chars(address.data() + colon + 1, end, port);
  return parsed.ec == std::errc() && parsed.ptr == end && port >= 1 && port <= 65535;
}

}  // namespace

PipelinePool::PipelinePool(boost::asio::io_context& loop, const std::vector<std::string>& addresses,
                           const PipelineClientOptions& options, uint32_t vocab_size, RouterMetrics& metrics,
                           std::function<void()> on_change)
    : vocab_size_(vocab_size), metrics_(metrics), on_change_(std::move(on_change)) {
  for (const std::string& address : addresses) {
    PipelineClient::Owner owner{[this](const v1::WatchResponse& state) { return check(state); },
                                [this] { on_client_change(); }};
    clients_.push_back(std::make_unique<PipelineClient>(loop, address, options, std::move(owner)));
  }
}

PipelinePool::~PipelinePool() = default;

void PipelinePool::connect() {
  for (const auto& client : clients_) client->connect();
}

absl::StatusOr<SequenceHandle> PipelinePool::start(v1::StartSequence sequence, SequenceEvents& events) {
  std::optional<size_t> best;
  for (size_t i = 0; i < clients_.size(); ++i) {
    const size_t candidate = (first_choice_ + i) % clients_.size();
    if (!clients_[candidate]->ready()) continue;
    if (!best || clients_[candidate]->load() < clients_[*best]->load()) best = candidate;
  }
  if (!best) return unavailable("no pipeline is ready", kRetryAfter);
  first_choice_ = (*best + 1) % clients_.size();
  const SequenceHandle handle{.pipeline = *best, .sequence_id = next_sequence_id_++};
  sequence.set_sequence_id(handle.sequence_id);
  clients_[*best]->start(std::move(sequence), events);
  return handle;
}

void PipelinePool::cancel(const SequenceHandle& handle) {
  clients_[handle.pipeline]->cancel(handle.sequence_id);
}

size_t PipelinePool::num_ready() const {
  return static_cast<size_t>(
      std::count_if(clients_.begin(), clients_.end(), [](const auto& client) { return client->ready(); }));
}

absl::Status PipelinePool::check(const v1::WatchResponse& state) {
  const v1::Model& model = state.model();
  if (model.vocab_size() < vocab_size_ || model.vocab_size() - vocab_size_ >= kMaxPaddingTokens) {
    return absl::FailedPreconditionError(absl::StrCat("its model ", model.name(), " has ", model.vocab_size(),
                                                      " token ids, the router's tokenizer ", vocab_size_));
  }
  if (!model_) {
    model_ = ModelInfo{.name = model.name(),
                       .max_model_len = model.max_model_len_tokens(),
                       .vocab_size = model.vocab_size(),
                       .backend = model.backend()};
  }
  if (model.name() != model_->name || model.max_model_len_tokens() != model_->max_model_len) {
    return absl::FailedPreconditionError(absl::StrCat(
        "it serves ", model.name(), " with ", model.max_model_len_tokens(),
        " tokens of context; this router serves ", model_->name, " with ", model_->max_model_len));
  }
  return absl::OkStatus();
}

void PipelinePool::on_client_change() {
  metrics_.pipelines_ready.Set(static_cast<double>(num_ready()));
  on_change_();
}

absl::Status check_pipeline_addresses(const std::vector<std::string>& addresses) {
  if (addresses.empty()) return invalid_field("--pipeline", "at least one HOST:PORT is needed");
  std::set<std::string> seen;
  for (const std::string& address : addresses) {
    if (!is_host_and_port(address)) {
      return invalid_field("--pipeline",
                           absl::StrCat("'", address, "' is not HOST:PORT with a port of 1 to 65535"));
    }
    if (!seen.insert(address).second)
      return invalid_field("--pipeline", absl::StrCat("'", address, "' is given twice"));
  }
  return absl::OkStatus();
}

}  // namespace octet::router
