#include "tests/simulation/world.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace octet::simulation {
namespace {

World* current_world = nullptr;

// How long the world may take to come to rest once nothing fails any more: the longest freeze's keepalives,
// joins and back-offs, and then all the work.
constexpr Duration kRestTime = std::chrono::seconds(240);
constexpr Duration kSlowRestTime =
    std::chrono::seconds(900);  // where every step may wait for a slow connection
// Until all pipelines are ready: the longest keepalive, and then what a join waits for its peers.
constexpr Duration kRecoveryTime = std::chrono::seconds(25);
// The generator's grace for leads that do not end what is past its deadline.
constexpr Duration kMostPastDeadline = std::chrono::milliseconds(1200);
constexpr Duration kRestPeriod = std::chrono::milliseconds(100);  // of looking whether it is
constexpr Duration kTakeDownTime = std::chrono::seconds(600);

}  // namespace

Installation Installation::load(const std::string& tokenizer_path) {
  auto tokenizer = router::Tokenizer::load(tokenizer_path);
  OCTET_CHECK(tokenizer.ok(), tokenizer_path);
  Installation installation;
  installation.tokenizer = *std::move(tokenizer);
  installation.model.name = "simulation";
  installation.model.vocab_size = static_cast<int32_t>(installation.tokenizer->vocab_size());
  installation.model.eos_token_id = static_cast<int32_t>(installation.tokenizer->eos_id());
  return installation;
}

void Tally::add(const Tally& other) {
  num_runs += other.num_runs;
  num_events += other.num_events;
  num_tokens += other.num_tokens;
  for (size_t i = 0; i < std::size(num_calls); ++i) num_calls[i] += other.num_calls[i];
  for (size_t i = 0; i < std::size(num_faults); ++i) num_faults[i] += other.num_faults[i];
  num_epochs += other.num_epochs;
  num_preemptions += other.num_preemptions;
  num_prefix_hit_tokens += other.num_prefix_hit_tokens;
  if (other.longest_recovery > longest_recovery) {
    longest_recovery = other.longest_recovery;
    longest_recovery_seed = other.longest_recovery_seed;
  }
}

RunResult run_seed(uint64_t seed, const Installation& installation, const RunOptions& options) {
  Scenario scenario(seed, installation.model, installation.tokenizer->vocab_size());
  if (options.only) scenario.faults = {*options.only};
  World world(scenario, installation, options);
  return world.run();
}

World& World::current() {
  return *current_world;
}
Network& network() {
  return World::current().network();
}
Checks& checks() {
  return World::current().checks();
}
Break broken() {
  return World::current().broken();
}

World::World(const Scenario& scenario, const Installation& installation, const RunOptions& options)
    : scenario_(scenario),
      options_(options),
      runtime_(scenario.seed),
      network_(runtime_, scenario.weather),
      checks_(runtime_, options.trace) {
  current_world = this;
  model_.hash.vocabulary = {static_cast<uint32_t>(installation.model.vocab_size),
                            static_cast<worker::TokenId>(installation.model.eos_token_id)};
  model_.max_model_len = static_cast<uint32_t>(scenario_.pipeline.model.max_model_len);
  model_.tokenizer = installation.tokenizer;
  for (int i = 0; i < scenario_.num_routers; ++i) add_place(Kind::kRouter, absl::StrCat("router", i), 0, 0);
  for (int i = 0; i < scenario_.num_pipelines; ++i) {
    add_place(Kind::kLead, absl::StrCat("lead", i), i, 0);
    for (int stage = 1; stage < scenario_.pipeline.num_stages; ++stage) {
      add_place(Kind::kStage, absl::StrCat("stage", i, ".", stage), i, stage);
    }
  }
}

World::~World() {
  current_world = nullptr;
}

RunResult World::run() {
  for (const auto& place : places_) start(*place);
  await_rest("the start");
  if (!checks_.first_violation()) {
    plan_load();
    plan_faults();
    const Duration end = runtime_.time() + scenario_.load_time;
    while (runtime_.time() < end && !checks_.first_violation()) {
      runtime_.run_until(std::min(end, runtime_.time() + kRestPeriod));
      check_bounds();
    }
    end_faults();
    const Duration faults_end = runtime_.time();
    await(kRecoveryTime, "the end of all faults", [this] { return what_is_not_ready(); });
    tally_.longest_recovery = runtime_.time() - faults_end;
    tally_.longest_recovery_seed = scenario_.seed;
    await_rest("the end of all faults");
  }
  if (!checks_.first_violation()) {
    probe();
    await_rest("the last requests");
    check_rest();
  }
  RunResult result{.violation = checks_.first_violation(), .digest = runtime_.digest(), .tally = tally()};
  take_down();
  return result;
}

void World::add_place(Kind kind, std::string name, int pipeline, int stage) {
  auto place = std::make_unique<Place>();
  place->kind = kind;
  place->name = std::move(name);
  place->machine = static_cast<int>(places_.size());
  place->pipeline = pipeline;
  place->stage = stage;
  places_.push_back(std::move(place));
}

void World::start(Place& place) {
  if (place.process) return;
  auto process = std::make_shared<Process>();
  process->name = place.kind == Kind::kStage ? absl::StrCat(place.name, "#", place.num_lives) : place.name;
  process->machine = place.machine;
  process->poll_loop = [] {};
  process->clock_offset = runtime_.between(Duration(0), Duration(std::chrono::hours(100)));
  process->clock_drift_ppm = static_cast<double>(runtime_.between(0, 200)) - 100;
  ++place.num_lives;
  place.draining = false;
  place.process = process;
  runtime_.after(Duration(0), process, [this, &place] {
    checks_.trace("starts");
    PipelineShape shape = scenario_.pipeline;
    shape.pipeline = place.pipeline;
    const std::string lead = absl::StrCat("lead", place.pipeline, ":50061");
    if (place.kind == Kind::kRouter)
      place.router = std::make_unique<RouterHost>(scenario_.router, model_.tokenizer);
    if (place.kind == Kind::kLead) place.lead = std::make_unique<LeadHost>(shape, scenario_.engine, lead);
    if (place.kind == Kind::kStage) place.later_stage = std::make_unique<StageHost>(shape, place.stage, lead);
  });
}

// The process' objects are destroyed on a fiber of its own, while nobody hears of it any more.
void World::end(Place& place, bool quietly) {
  const ProcessPtr process = std::exchange(place.process, nullptr);
  if (!process) return;
  checks_.trace(absl::StrCat(place.name, quietly ? " is lost with its machine" : " is killed"));
  if (place.lead) {
    const worker::EngineStatus status = place.lead->status();
    tally_.num_epochs += status.epoch;
    tally_.num_preemptions += status.scheduler.preemptions;
    tally_.num_prefix_hit_tokens += status.scheduler.prefix_hit_tokens;
  }
  process->alive = false;
  network_.end(process, quietly);
  runtime_.thaw(process);
  if (place.kind == Kind::kRouter) {
    for (const Running& running : calls_) {
      if (running.router == process) running.call->end(Outcome::kRouterLost);
    }
  }
  const auto remains = std::make_shared<
      std::tuple<std::unique_ptr<RouterHost>, std::unique_ptr<LeadHost>, std::unique_ptr<StageHost>>>(
      std::move(place.router), std::move(place.lead), std::move(place.later_stage));
  runtime_.at_the_end_of(process, [remains] { *remains = {}; });
}

void World::end_and_restart(Place& place, bool quietly) {
  end(place, quietly);
  runtime_.after(runtime_.between(Duration(std::chrono::milliseconds(50)),
                                  scenario_.max_downtime + std::chrono::milliseconds(50)),
                 nullptr, [this, &place] { start(place); });
}

World::Place* World::any(Kind kind) {
  std::vector<Place*> found;
  for (const auto& place : places_) {
    if (place->kind == kind && place->process) found.push_back(place.get());
  }
  return found.empty() ? nullptr : found[runtime_.between(0, found.size() - 1)];
}

void World::end_faults() {
  checks_.trace("nothing fails any more");
  faults_over_ = true;
  network_.mend_all();
  for (const auto& place : replaced_) end(*place, false);
  for (const auto& place : places_) {
    if (place->process) runtime_.thaw(place->process);
    start(*place);
  }
}

void World::await_rest(const char* after) {
  await(scenario_.weather.slow_connections > 0 ? kSlowRestTime : kRestTime, after,
        [this] { return what_is_not_at_rest(); });
}

// what: what is still to happen, empty when all has.
void World::await(Duration longest, const char* after, const std::function<std::string()>& what) {
  const Duration deadline = runtime_.time() + longest;
  runtime_.run_until(runtime_.time() + std::chrono::milliseconds(1));  // what is due now begins
  std::string missing = what();
  while (!missing.empty() && !checks_.first_violation()) {
    if (runtime_.time() >= deadline) {
      return checks_.violation(absl::StrCat(seconds(longest), " s after ", after, ": ", missing));
    }
    runtime_.run_until(runtime_.time() + kRestPeriod);
    check_bounds();
    missing = what();
  }
}

// Empty when every pipeline is ready and every router knows it.
std::string World::what_is_not_ready() {
  if (network_.any_half_open()) return "somebody does not know yet that a peer is gone";
  for (const auto& place : places_) {
    if (!place->router && !place->lead && !place->later_stage)
      return absl::StrCat(place->name, " is not there");
    if (place->draining) return absl::StrCat(place->name, " is draining");
    if (place->lead && place->lead->status().state != worker::PipelineState::kReady) {
      return absl::StrCat(place->name, " is not ready");
    }
    if (place->router && place->router->num_ready() != scenario_.router.leads.size()) {
      return absl::StrCat(place->name, " does not know all pipelines");
    }
  }
  return "";
}

// The same, and every request has ended and every block is free.
std::string World::what_is_not_at_rest() {
  for (const Running& running : calls_) {
    if (running.call->outcome() == Outcome::kRunning) {
      return absl::StrCat("request ", running.call->name(), " runs");
    }
  }
  for (const auto& place : places_) {
    if (place->router && place->router->num_requests() > 0) return absl::StrCat(place->name, " has requests");
    if (!place->lead) continue;
    const worker::EngineStatus status = place->lead->status();
    if (status.num_sequences > 0 || status.scheduler.running + status.scheduler.waiting > 0) {
      return absl::StrCat(place->name, " has sequences: ", status.num_sequences, " that routers know, ",
                          status.scheduler.running + status.scheduler.waiting, " in its scheduler");
    }
    if (status.scheduler.free_blocks != status.scheduler.total_blocks || status.scheduler.total_blocks == 0) {
      return absl::StrCat(place->name, " has ", status.scheduler.free_blocks, " of ",
                          status.scheduler.total_blocks, " blocks free");
    }
  }
  return what_is_not_ready();
}

// What no moment may exceed.
void World::check_bounds() {
  for (const Running& running : calls_) {
    const Time deadline = running.call->request().deadline;
    if (running.call->outcome() != Outcome::kRunning || deadline == kNoDeadline || running.router->frozen)
      continue;
    if (runtime_.process_time(running.router.get()) > deadline + kMostPastDeadline) {
      checks_.violation(absl::StrCat("request ", running.call->name(), " goes on after its deadline"));
    }
  }
  for (const auto& place : places_) {
    if (place->router) {
      const std::string exceeded = place->router->exceeded(false);
      if (!exceeded.empty()) checks_.violation(absl::StrCat(place->name, " has ", exceeded));
    }
    if (!place->lead) continue;
    const worker::EngineStatus status = place->lead->status();
    if (status.scheduler.running > scenario_.engine.scheduler.max_running_sequences ||
        status.scheduler.waiting > scenario_.engine.scheduler.max_waiting_sequences) {
      checks_.violation(absl::StrCat(place->name, " runs ", status.scheduler.running, " sequences"));
    }
    if (status.scheduler.running + status.scheduler.waiting != status.num_sequences) {
      checks_.violation(
          absl::StrCat(place->name, " has ", status.scheduler.running + status.scheduler.waiting,
                       " sequences in its scheduler and ", status.num_sequences, " that routers wait for"));
    }
  }
}

void World::check_rest() {
  for (const auto& place : places_) {
    const std::string left = place->router ? place->router->exceeded(true) : "";
    if (!left.empty()) checks_.violation(absl::StrCat(place->name, " has ", left, " at rest"));
  }
  for (const Running& running : calls_) {
    if (running.call->outcome() == Outcome::kRunning)
      checks_.violation(absl::StrCat("request ", running.call->name(), " never ends"));
  }
}

void World::take_down() {
  for (const auto& place : places_) end(*place, true);
  for (const auto& place : replaced_) end(*place, true);
  const Duration deadline = runtime_.time() + kTakeDownTime;
  while (runtime_.time() < deadline && runtime_.num_fibers_at_work() > 0 && runtime_.step()) {
  }
  OCTET_CHECK(runtime_.num_fibers_at_work() == 0, "a process does not end");
}

Tally World::tally() const {
  Tally tally = tally_;
  tally.num_runs = 1;
  tally.num_events = runtime_.num_events();
  for (const Running& running : calls_) {
    ++tally.num_calls[static_cast<size_t>(running.call->outcome())];
    tally.num_tokens += running.call->num_tokens();
  }
  for (const auto& place : places_) {
    if (!place->lead) continue;
    const worker::EngineStatus status = place->lead->status();
    tally.num_epochs += status.epoch;
    tally.num_preemptions += status.scheduler.preemptions;
    tally.num_prefix_hit_tokens += status.scheduler.prefix_hit_tokens;
  }
  return tally;
}

}  // namespace octet::simulation
