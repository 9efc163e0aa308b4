#include "router/routing/pipeline_pool.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/prefix_hash.h"
#include "base/status.h"
#include "octet/v1/pipeline.pb.h"

namespace octet::router {
namespace {

constexpr Duration kRetryAfter = std::chrono::seconds(1);
constexpr Duration kLetGoPeriod = std::chrono::milliseconds(20);
// NeMo pads the vocabulary to a multiple of 128 times the tensor-parallel size.
constexpr uint32_t kMaxPaddingTokens = 128 * 8;

// The names of a prompt's blocks, computed once for each size of blocks.
class PromptNames {
 public:
  explicit PromptNames(const ValidatedRequest& request) : request_(request) {}

  // Tokens of the prompt that the lead has in its prefix cache.
  uint64_t num_cached(const PipelineClient& client) {
    const uint32_t block_size = client.block_size_tokens();
    if (block_size == 0 || client.prefixes().empty()) return 0;
    if (block_size != block_size_) {
      names_ = prefix_hashes(request_.tenant.name, request_.prompt, block_size);
      block_size_ = block_size;
    }
    return client.prefixes().num_known(names_) * block_size;
  }

 private:
  const ValidatedRequest& request_;
  uint32_t block_size_ = 0;
  std::vector<uint64_t> names_;
};

}  // namespace

PipelinePool::PipelinePool(boost::asio::io_context& loop, const Options& options, RouterMetrics& metrics,
                           Events events)
    : loop_(loop),
      options_(options),
      metrics_(metrics),
      events_(std::move(events)),
      let_go_timer_(loop),
      random_(std::random_device{}()) {}

PipelinePool::~PipelinePool() = default;

void PipelinePool::use(const std::vector<std::string>& addresses) {
  const size_t num_ready_before = num_ready();
  std::set<std::string> missing(addresses.begin(), addresses.end());
  for (auto& [id, member] : members_) {
    if (member.left) continue;
    const bool used = missing.erase(member.address) > 0;
    if (used != member.used) {
      spdlog::info("pipeline {} {}", member.address,
                   used ? "is used again" : "is not used any more; it finishes its sequences");
    }
    member.used = used;
  }
  for (const std::string& address : addresses) {
    if (missing.contains(address)) add(address);
  }
  if (num_ready() != num_ready_before) on_client_change();
  let_go_of_unused();
}

void PipelinePool::add(const std::string& address) {
  const PipelineId id = next_pipeline_++;
  PipelineClient::Owner owner{.check = [this](const v1::WatchResponse& state) { return check(state); },
                              .on_change = [this] { on_client_change(); },
                              .on_room =
                                  [this, id] {
                                    if (!members_.at(id).used) let_go_of_unused();
                                    count_pipelines();
                                    events_.on_room();
                                  }};
  Member& member = members_[id];
  member.address = address;
  member.client = std::make_unique<PipelineClient>(loop_, address, options_.client, std::move(owner));
  member.client->connect();
}

// Not at once: a client may be in the middle of a call, and gRPC takes a moment to let go of its streams.
void PipelinePool::let_go_of_unused() {
  let_go_timer_.expires_after(kLetGoPeriod);
  let_go_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    std::erase_if(members_,
                  [](const auto& entry) { return entry.second.left && entry.second.client->disconnected(); });
    bool any_left = false;
    for (auto& [id, member] : members_) {
      if (member.used || member.client->num_own_sequences() > 0) continue;
      if (!std::exchange(member.left, true)) member.client->disconnect();
      any_left = true;
    }
    if (any_left) let_go_of_unused();
  });
}

absl::StatusOr<std::optional<PipelineId>> PipelinePool::choose(const Placement& placement) {
  std::vector<PipelineId> ids;
  std::vector<Candidate> candidates;
  const ValidatedRequest& request = placement.request;
  PromptNames names(request);
  const Time time = now();
  bool any_ready = false;
  for (const auto& [id, member] : members_) {
    if (!member.takes_sequences()) continue;
    any_ready = true;
    if (!member.client->circuit().allows(time)) continue;
    ids.push_back(id);
    candidates.push_back({.name = hash_of(member.address),
                          .load = member.client->load(),
                          .num_cached_tokens = names.num_cached(*member.client),
                          .avoid = id == placement.avoid});
  }
  if (!any_ready) return unavailable("no pipeline is ready", kRetryAfter);
  if (candidates.empty()) return std::nullopt;
  Demand demand{.num_sequences = placement.num_sequences,
                .num_prompt_tokens = request.prompt.size() + placement.num_generated,
                .session = {}};
  if (!request.session.empty()) demand.session = hash_of(request.session);
  const auto chosen = select(candidates, demand, options_.room, random_());
  if (!chosen) return std::nullopt;
  return ids[*chosen];
}

bool PipelinePool::is_pausing() const {
  const Time time = now();
  return num_ready() == 0 && std::any_of(members_.begin(), members_.end(), [&](const auto& entry) {
           return entry.second.used && entry.second.client->pausing(time);
         });
}

SequenceHandle PipelinePool::start(PipelineId pipeline, v1::StartSequence sequence, SequenceEvents& events) {
  const SequenceHandle handle{.pipeline = pipeline, .sequence_id = next_sequence_id_++};
  sequence.set_sequence_id(handle.sequence_id);
  members_.at(pipeline).client->start(std::move(sequence), events);
  return handle;
}

void PipelinePool::cancel(const SequenceHandle& handle) {
  const auto member = members_.find(handle.pipeline);
  if (member != members_.end()) member->second.client->cancel(handle.sequence_id);
}

size_t PipelinePool::num_ready() const {
  return static_cast<size_t>(std::count_if(members_.begin(), members_.end(),
                                           [](const auto& entry) { return entry.second.takes_sequences(); }));
}

absl::Status PipelinePool::check(const v1::WatchResponse& state) {
  const v1::Model& model = state.model();
  if (model.vocab_size() < options_.vocab_size ||
      model.vocab_size() - options_.vocab_size >= kMaxPaddingTokens) {
    return absl::FailedPreconditionError(absl::StrCat("its model ", model.name(), " has ", model.vocab_size(),
                                                      " token ids, the router's tokenizer ",
                                                      options_.vocab_size));
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

void PipelinePool::count_pipelines() {
  size_t num_blocks = 0, num_open = 0;
  for (const auto& [id, member] : members_) {
    num_blocks += member.client->prefixes().size();
    num_open += member.client->circuit().is_closed() ? 0 : 1;
  }
  metrics_.prefix_blocks_known.Set(static_cast<double>(num_blocks));
  metrics_.pipelines_circuit_open.Set(static_cast<double>(num_open));
}

void PipelinePool::on_client_change() {
  metrics_.pipelines_ready.Set(static_cast<double>(num_ready()));
  events_.on_change();
  events_.on_room();
}

}  // namespace octet::router
