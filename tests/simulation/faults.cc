// The faults of a run.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/simulation/world.h"

namespace octet::simulation {
namespace {

constexpr Duration kMaxDrainTime = std::chrono::seconds(10);

}  // namespace

void World::plan_faults() {
  const std::vector<Fault> kinds(scenario_.faults.begin(), scenario_.faults.end());
  for (int i = 0; i < scenario_.num_faults; ++i) {
    const Fault fault = kinds[runtime_.between(0, kinds.size() - 1)];
    runtime_.after(runtime_.between(Duration(0), scenario_.load_time), nullptr, [this, fault] {
      if (faults_over_) return;
      ++tally_.num_faults[static_cast<size_t>(fault)];
      checks_.trace(absl::StrCat("fault ", std::string(name_of(fault))));
      make(fault);
    });
  }
}

void World::make(Fault fault) {
  const Duration time = runtime_.between(Duration(std::chrono::milliseconds(10)), scenario_.max_freeze);
  const auto with = [&](Kind kind, auto f) {
    if (Place* const place = any(kind)) f(*place);
  };
  switch (fault) {
    case Fault::kKillRouter:
      return with(Kind::kRouter, [&](Place& place) { end_and_restart(place, false); });
    case Fault::kKillLead:
      return with(Kind::kLead, [&](Place& place) { end_and_restart(place, false); });
    case Fault::kKillStage:
      return with(Kind::kStage, [&](Place& place) { end_and_restart(place, false); });
    case Fault::kLoseMachine:
      return with(Kind::kStage, [&](Place& place) { end_and_restart(place, true); });
    case Fault::kFreezeRouter:
      return with(Kind::kRouter, [&](Place& place) { freeze(place, time); });
    case Fault::kFreezeLead:
      return with(Kind::kLead, [&](Place& place) { freeze(place, time); });
    case Fault::kFreezeStage:
      return with(Kind::kStage, [&](Place& place) { freeze(place, time); });
    case Fault::kReplaceStage:
      return with(Kind::kStage, [&](Place& place) { replace(place); });
    case Fault::kCutStage:
      return with(Kind::kStage, [&](Place& place) {
        cut(place.machine, place.machine - static_cast<int>(runtime_.between(1, place.stage)));
      });
    case Fault::kCutRouter:
      return with(Kind::kRouter, [&](Place& router) {
        with(Kind::kLead, [&](Place& lead) { cut(router.machine, lead.machine); });
      });
    case Fault::kResetStage:
      return with(Kind::kStage, [&](Place& place) { network_.break_one(place.machine); });
    case Fault::kResetRouter:
      return with(Kind::kRouter, [&](Place& place) { network_.break_one(place.machine); });
    case Fault::kDrainLead:
      return with(Kind::kLead, [&](Place& place) { drain(place, std::min(time, kMaxDrainTime)); });
    case Fault::kDrainRouter:
      return with(Kind::kRouter, [&](Place& place) { drain(place, std::min(time, kMaxDrainTime)); });
    case Fault::kFailStep:
      return with_stage([](HashStage& stage) { stage.fail_next_step(); });
    case Fault::kSlowStage:
      return with_stage([time, factor = static_cast<double>(runtime_.between(2, 100))](HashStage& stage) {
        stage.slow_down(factor, now() + time);
      });
    case Fault::kForgetLead:
      return with(Kind::kRouter, [&](Place& place) { forget_lead(place, time); });
    case Fault::kLeap: {
      const ProcessPtr& process = places_[runtime_.between(0, places_.size() - 1)]->process;
      if (process) runtime_.leap(process, time);
      return;
    }
  }
}

// Of any lead or later stage, on a fiber of its process.
void World::with_stage(const std::function<void(HashStage&)>& f) {
  Place& place = *places_[runtime_.between(0, places_.size() - 1)];
  if (!place.process || place.kind == Kind::kRouter) return;
  runtime_.after(Duration(0), place.process, [&place, f] {
    if (place.lead) f(place.lead->stage());
    if (place.later_stage) f(place.later_stage->stage());
  });
}

void World::freeze(Place& place, Duration time) {
  const ProcessPtr process = place.process;
  if (process->frozen) return;
  runtime_.freeze(process);
  network_.froze(process);
  runtime_.after(time, nullptr, [this, process] {
    if (process->alive) runtime_.thaw(process);
  });
}

// Then the process ends, and is started again.
void World::drain(Place& place, Duration time_left) {
  if (std::exchange(place.draining, true)) return;
  runtime_.after(Duration(0), place.process, [&place, time_left] {
    if (place.lead) place.lead->drain(time_left);
    if (place.router) place.router->drain();
  });
  end_when_drained(place, place.process, runtime_.time() + time_left);
}

void World::end_when_drained(Place& place, const ProcessPtr& process, Duration end_time) {
  if (place.process != process) return;
  const bool lead_drained = place.lead && place.lead->status().state == worker::PipelineState::kDraining &&
                            place.lead->status().num_sequences == 0;
  const bool drained = lead_drained || (place.router && place.router->num_requests() == 0);
  if (drained || runtime_.time() >= end_time) return end_and_restart(place, false);
  runtime_.after(std::chrono::milliseconds(20), nullptr,
                 [this, &place, process, end_time] { end_when_drained(place, process, end_time); });
}

void World::forget_lead(Place& place, Duration time) {
  const std::vector<std::string>& all = scenario_.router.leads;
  std::vector<std::string> others = all;
  others.erase(others.begin() + static_cast<ptrdiff_t>(runtime_.between(0, all.size() - 1)));
  const auto use = [&place, process = place.process](const std::vector<std::string>& leads) {
    if (place.process == process && place.router) place.router->use(leads);
  };
  runtime_.after(Duration(0), place.process, [use, others] { use(others); });
  runtime_.after(std::min(time, scenario_.max_downtime), place.process, [use, all] { use(all); });
}

// Another process for the same stage, while the first one hangs and after it goes on, until it ends at last.
void World::replace(Place& place) {
  const ProcessPtr process = place.process;
  freeze(place, runtime_.between(Duration(std::chrono::milliseconds(10)), scenario_.max_freeze));
  auto rest = std::make_shared<Place>();
  rest->kind = Kind::kStage;
  rest->name = process->name;
  rest->process = std::exchange(place.process, nullptr);
  rest->later_stage = std::move(place.later_stage);
  replaced_.push_back(rest);
  runtime_.after(runtime_.between(Duration(std::chrono::milliseconds(50)), scenario_.max_downtime), nullptr,
                 [this, &place] { start(place); });
  runtime_.after(scenario_.max_freeze, nullptr, [this, rest] { end(*rest, false); });
}

// In one direction or both, for some time.
void World::cut(int a, int b) {
  const uint64_t which = runtime_.between(0, 2);
  if (which != 1) network_.cut(a, b);
  if (which != 0) network_.cut(b, a);
  runtime_.after(runtime_.between(Duration(std::chrono::milliseconds(10)), scenario_.max_freeze), nullptr,
                 [this, a, b] {
                   network_.mend(a, b);
                   network_.mend(b, a);
                 });
}

}  // namespace octet::simulation
