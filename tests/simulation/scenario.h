// What one run is: the deployment, its load and its faults, all drawn from the seed. Each run has some kinds
// of faults only, and its own rates, so that over many seeds every mixture comes up.
#pragma once

#include <cstdint>
#include <set>
#include <string_view>

#include "tests/simulation/hash_stage.h"
#include "tests/simulation/network.h"
#include "tests/simulation/router_host.h"
#include "worker/engine/engine.h"

namespace octet::simulation {

enum class Fault {
  kKillRouter,
  kKillLead,
  kKillStage,
  kLoseMachine,   // of a later stage: nobody is told
  kFreezeRouter,  // SIGSTOP, for some time
  kFreezeLead,
  kFreezeStage,
  kReplaceStage,  // a stage hangs, and another takes its place before it goes on
  kCutStage,      // a lead and a later stage, or two neighbours, do not reach each other
  kCutRouter,     // a router and a lead
  kResetStage,    // any connection inside a pipeline breaks
  kResetRouter,   // one between a router and a lead
  kLeap,          // a clock leaps ahead
  kDrainLead,     // SIGTERM: it ends when it has no work, or its time is up
  kDrainRouter,   // the same
  kFailStep,      // a stage cannot compute its next step
  kSlowStage,     // a stage takes many times as long, for some time
  kForgetLead,    // a router is told not to use a pipeline, for some time
};
inline constexpr int kNumFaults = 18;
std::string_view name_of(Fault fault);

struct Scenario {
  Scenario(uint64_t seed, const worker::ModelConfig& model, uint32_t vocab_size);

  uint64_t seed;
  int num_routers = 1;
  int num_pipelines = 1;
  PipelineShape pipeline;
  worker::Engine::Config engine;
  RouterSettings router;
  Network::Weather weather;

  Duration load_time{};  // in which requests and faults come
  int num_requests = 0;
  double long_prompts = 0;  // the part of requests with prompts that fill many blocks
  double shared_beginnings = 0;
  double cancels = 0;
  double deadlines = 0;
  double many_choices = 0;

  std::set<Fault> faults;
  int num_faults = 0;
  Duration max_downtime{};
  Duration max_freeze{};
};

}  // namespace octet::simulation
