#include "worker/engine/formation.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace octet::worker {
namespace {

template <typename Value>
absl::Status differs(int stage, const std::string& what, const Value& theirs, const Value& ours) {
  return absl::FailedPreconditionError(
      absl::StrCat("stage ", stage, " has ", what, " ", theirs, ", the lead ", ours));
}

}  // namespace

Formation::Formation(StageDescription lead, std::vector<LayerRange> layers, const Options& options)
    : lead_(std::move(lead)), layers_(std::move(layers)), options_(options), epoch_(lead_.last_epoch) {
  OCTET_CHECK(static_cast<int>(layers_.size()) == lead_.num_stages, layers_.size(), " ", lead_.num_stages);
}

absl::Status Formation::register_stage(const Registration& registration, Time now) {
  if (absl::Status status = check(registration.description); !status.ok()) return status;
  registered_[registration.description.stage] = {registration, now};
  return absl::OkStatus();
}

absl::Status Formation::check(const StageDescription& stage) const {
  const int i = stage.stage;
  if (stage.wire_version != lead_.wire_version) {
    return differs(i, "wire version", stage.wire_version, lead_.wire_version);
  }
  if (stage.num_stages != lead_.num_stages) return differs(i, "--stages", stage.num_stages, lead_.num_stages);
  if (i < 1 || i >= lead_.num_stages) {
    return absl::FailedPreconditionError(absl::StrCat("stage ", i, " is not one of the stages 1 to ",
                                                      lead_.num_stages - 1, " that the lead waits for"));
  }
  if (stage.model_digest != lead_.model_digest) {
    return differs(i, "model digest", stage.model_digest, lead_.model_digest);
  }
  if (stage.num_ranks != lead_.num_ranks) return differs(i, "--tp", stage.num_ranks, lead_.num_ranks);
  if (stage.block_size != lead_.block_size)
    return differs(i, "--block-size", stage.block_size, lead_.block_size);
  if (stage.backend != lead_.backend) return differs(i, "--backend", stage.backend, lead_.backend);
  if (stage.arithmetic != lead_.arithmetic) {
    return absl::FailedPreconditionError(
        absl::StrCat("stage ", i, " runs with ", stage.arithmetic, ", the lead with ", lead_.arithmetic));
  }
  if (stage.max_batch_tokens < lead_.max_batch_tokens) {
    return differs(i, "--max-batch-tokens", stage.max_batch_tokens, lead_.max_batch_tokens);
  }
  const LayerRange& expected = layers_[static_cast<size_t>(i)];
  if (stage.layers.first != expected.first || stage.layers.end != expected.end) {
    return absl::FailedPreconditionError(absl::StrCat(
        "stage ", i, " has layers ", stage.layers.first, " to ", stage.layers.end - 1, ", the lead expects ",
        expected.first, " to ", expected.end - 1, " (--layers-per-stage)"));
  }
  if (stage.num_blocks == 0 || (num_blocks_ && stage.num_blocks < *num_blocks_)) {
    return absl::FailedPreconditionError(absl::StrCat("stage ", i, " has ", stage.num_blocks,
                                                      " KV cache blocks, the pipeline runs with ",
                                                      num_blocks_.value_or(1), " (--kv-cache-mib)"));
  }
  return absl::OkStatus();
}

std::optional<EpochPlan> Formation::begin(Time now) {
  if (in_force_ || now < retry_time_ || !missing(now).empty()) return std::nullopt;
  EpochPlan plan;
  plan.stages.push_back({lead_, "", ""});
  plan.num_blocks = lead_.num_blocks;
  for (const auto& [stage, entry] : registered_) {
    plan.stages.push_back(entry.registration);
    plan.num_blocks = std::min(plan.num_blocks, entry.registration.description.num_blocks);
    epoch_ = std::max(epoch_, entry.registration.description.last_epoch);
  }
  if (!num_blocks_) num_blocks_ = plan.num_blocks;
  plan.num_blocks = *num_blocks_;
  plan.epoch = ++epoch_;
  in_force_ = true;
  return plan;
}

Time Formation::retry_time() const {
  return in_force_ ? kNoDeadline : retry_time_;
}

void Formation::ended(Time now) {
  in_force_ = false;
  registered_.clear();
  const Duration delay = options_.min_retry * (int64_t{1} << std::min(failures_in_a_row_, 16));
  retry_time_ = now + std::min(delay, options_.max_retry);
  ++failures_in_a_row_;
}

void Formation::worked() {
  failures_in_a_row_ = 0;
}

std::vector<int> Formation::missing(Time now) const {
  std::vector<int> stages;
  for (int i = 1; i < lead_.num_stages; ++i) {
    const auto found = registered_.find(i);
    if (found == registered_.end() || !fresh(found->second, now)) stages.push_back(i);
  }
  return stages;
}

}  // namespace octet::worker
