// One run: builds what its scenario says, lets requests and faults come, ends the faults, and waits until
// everything is at rest again; then what must hold is checked.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/breaks.h"
#include "tests/simulation/call.h"
#include "tests/simulation/checks.h"
#include "tests/simulation/lead_host.h"
#include "tests/simulation/network.h"
#include "tests/simulation/router_host.h"
#include "tests/simulation/runtime.h"
#include "tests/simulation/scenario.h"
#include "tests/simulation/stage_host.h"

namespace octet::simulation {

// What every run of a program shares, since it takes long to load.
struct Installation {
  std::shared_ptr<const router::Tokenizer> tokenizer;
  worker::ModelConfig model;
  // Of the nano model's folder. Ends the program when it cannot be read.
  static Installation load(const std::string& tokenizer_path);
};

// What happened, over one run or many.
struct Tally {
  uint64_t num_runs = 0;
  uint64_t num_events = 0;
  uint64_t num_tokens = 0;
  uint64_t num_calls[8] = {};            // by Outcome
  uint64_t num_faults[kNumFaults] = {};  // by Fault
  uint64_t num_epochs = 0;
  uint64_t num_preemptions = 0;
  uint64_t num_prefix_hit_tokens = 0;
  Duration longest_recovery{};  // from the last fault until all pipelines were ready, and of which seed
  uint64_t longest_recovery_seed = 0;
  void add(const Tally& other);
};

struct RunOptions {
  bool trace = false;
  Break broken = Break::kNone;
  std::optional<Fault> only;  // no other kind of fault, whatever the seed draws
};

struct RunResult {
  std::optional<std::string> violation;
  uint64_t digest = 0;
  Tally tally;
};

RunResult run_seed(uint64_t seed, const Installation& installation, const RunOptions& options);

class World {
 public:
  World(const Scenario& scenario, const Installation& installation, const RunOptions& options);
  ~World();
  RunResult run();

  // The world of the run.
  static World& current();
  Network& network() { return network_; }
  Checks& checks() { return checks_; }
  Break broken() const { return options_.broken; }

 private:
  enum class Kind { kRouter, kLead, kStage };
  // A place for a process, which is started again after each of its ends.
  struct Place {
    Kind kind = Kind::kRouter;
    std::string name;
    int machine = 0;
    int pipeline = 0;
    int stage = 0;
    int num_lives = 0;
    bool draining = false;
    ProcessPtr process;  // null while there is none
    std::unique_ptr<RouterHost> router;
    std::unique_ptr<LeadHost> lead;
    std::unique_ptr<StageHost> later_stage;
  };

  void add_place(Kind kind, std::string name, int pipeline, int stage);
  void start(Place& place);
  void end(Place& place, bool quietly);
  void end_and_restart(Place& place, bool quietly);
  Place* any(Kind kind);

  void plan_load();
  void begin_call(const router::ValidatedRequest& request, Place& place, bool must_end_whole);
  router::ValidatedRequest draw_request();
  std::vector<router::TokenId> draw_prompt(uint32_t max_tokens);
  void draw_client(const std::shared_ptr<Call>& call, Place& place, router::GenerationId id);

  void plan_faults();
  void make(Fault fault);
  void with_stage(const std::function<void(HashStage&)>& f);
  void freeze(Place& place, Duration time);
  void replace(Place& place);
  void drain(Place& place, Duration time_left);
  void end_when_drained(Place& place, const ProcessPtr& process, Duration end_time);
  void forget_lead(Place& place, Duration time);
  void cut(int a, int b);
  void end_faults();

  void await_rest(const char* after);
  void await(Duration longest, const char* after, const std::function<std::string()>& what);
  std::string what_is_not_ready();
  std::string what_is_not_at_rest();
  void probe();
  void check_rest();
  void check_bounds();
  void take_down();
  Tally tally() const;

  const Scenario scenario_;
  const RunOptions options_;
  Runtime runtime_;
  Network network_;
  Checks checks_;
  ClientModel model_;
  std::vector<std::unique_ptr<Place>> places_;
  std::vector<std::shared_ptr<Place>> replaced_;  // by others, and still running
  struct Running {
    std::shared_ptr<Call> call;
    ProcessPtr router;
  };
  std::vector<Running> calls_;
  std::vector<std::vector<router::TokenId>> beginnings_;
  bool faults_over_ = false;
  Tally tally_;
};

}  // namespace octet::simulation
