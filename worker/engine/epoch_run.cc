#include "worker/engine/epoch_run.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace octet::worker {
namespace {

constexpr SequenceId kWarmUpSequence = 0;  // the engine's own start at 1

// One sequence of one token: checks every link and every rank before sequences depend on them.
BatchPlan warm_up_plan() {
  AdmittedSequence sequence;
  sequence.id = kWarmUpSequence;
  sequence.tokens = {0};
  sequence.num_prompt_tokens = 1;
  sequence.sampling.temperature = 0;
  SequenceChunk chunk;
  chunk.id = kWarmUpSequence;
  chunk.tokens = {0};
  chunk.new_blocks = {0};
  chunk.samples = true;
  BatchPlan plan;
  plan.step = 0;
  plan.admitted.push_back(std::move(sequence));
  plan.chunks.push_back(std::move(chunk));
  return plan;
}

}  // namespace

EpochRun::EpochRun(const EpochPlan& plan, const Timeouts& timeouts, const StageClientFactory& make_client,
                   std::shared_ptr<StageEvents> events, Time now)
    : epoch_(plan.epoch), timeouts_(timeouts), last_progress_(now) {
  for (const Registration& stage : plan.stages) stages_.push_back({make_client(stage, events)});
  const LinkKey link_key = make_link_key();
  for (size_t i = 0; i < stages_.size(); ++i) {
    const bool last = i + 1 == stages_.size();
    stages_[i].client->join(
        {epoch_, last ? "" : plan.stages[i + 1].link_address, plan.num_blocks, timeouts_.join, link_key});
  }
}

absl::Status EpochRun::joined(int stage, const absl::Status& status, Time now) {
  if (!status.ok())
    return absl::Status(status.code(), absl::StrCat("stage ", stage, " did not join: ", status.message()));
  stages_[static_cast<size_t>(stage)].joined = true;
  if (phase_ != Phase::kJoining) return absl::InternalError(absl::StrCat("stage ", stage, " joined twice"));
  if (std::all_of(stages_.begin(), stages_.end(), [](const StageState& s) { return s.joined; })) {
    phase_ = Phase::kWarmingUp;
    last_progress_ = now;
    send(warm_up_plan());
  }
  return absl::OkStatus();
}

void EpochRun::execute(BatchPlan plan, Time planned, Time now) {
  if (plan.step == 1) plan.released.push_back(kWarmUpSequence);
  if (in_flight_.empty()) last_progress_ = now;
  in_flight_.push_back({planned, now});
  send(std::move(plan));
}

void EpochRun::send(BatchPlan plan) {
  ++num_sent_;
  const auto shared = std::make_shared<const BatchPlan>(std::move(plan));
  // The last stage first: its plan has the longest way, and waking the lead's own stage may take this core.
  for (auto stage = stages_.rbegin(); stage != stages_.rend(); ++stage) stage->client->execute(shared);
}

absl::StatusOr<std::optional<EpochRun::Step>> EpochRun::answered(int stage, const StepResult& result,
                                                                 Time now) {
  if (!result.error.empty()) return absl::UnavailableError(result.error);
  StageState& state = stages_[static_cast<size_t>(stage)];
  if (result.step != state.next_step || result.step >= num_sent_) {
    return absl::InternalError(absl::StrCat("stage ", stage, " answered step ", result.step, " where step ",
                                            state.next_step, " of ", num_sent_, " was due"));
  }
  ++state.next_step;
  if (phase_ == Phase::kWarmingUp) {
    if (std::all_of(stages_.begin(), stages_.end(), [](const StageState& s) { return s.next_step == 1; })) {
      phase_ = Phase::kServing;
    }
    return std::optional<Step>();
  }
  if (stage != last_stage()) return std::optional<Step>();
  const Step step = in_flight_.front();
  in_flight_.pop_front();
  last_progress_ = now;
  return std::optional<Step>(step);
}

Time EpochRun::deadline() const {
  if (phase_ != Phase::kServing) return last_progress_ + timeouts_.join;
  return in_flight_.empty() ? kNoDeadline : last_progress_ + timeouts_.step;
}

std::vector<int> EpochRun::late_stages() const {
  std::vector<int> late;
  uint64_t oldest = num_sent_;
  for (const StageState& stage : stages_) oldest = std::min(oldest, stage.next_step);
  for (size_t i = 0; i < stages_.size(); ++i) {
    const StageState& stage = stages_[i];
    const bool waited_for =
        phase_ == Phase::kJoining ? !stage.joined : stage.next_step < num_sent_ && stage.next_step == oldest;
    if (waited_for) late.push_back(static_cast<int>(i));
  }
  return late;
}

}  // namespace octet::worker
