// What a run has found: the first thing that must never happen, and what the code under test logs.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "base/clock.h"

namespace octet::simulation {

class Network;
class Runtime;

class Checks {
 public:
  // trace: print what happens.
  Checks(Runtime& runtime, bool trace);
  ~Checks();

  // Something that must never happen has. The first one counts.
  void violation(const std::string& text);
  const std::optional<std::string>& first_violation() const { return violation_; }
  bool tracing() const { return trace_; }
  // A line of the trace.
  void trace(const std::string& text) const;

  // A lead sent a plan; a stage executes one. It must be what the lead of this epoch sent.
  void plan_sent(int pipeline, uint64_t epoch, uint64_t step, uint64_t digest);
  void plan_executed(int pipeline, int stage, uint64_t epoch, uint64_t step, uint64_t digest);

  // A router starts a sequence, named by its request's seed and its choice, on a lead; it ended or was
  // cancelled there, or the router has let go of the lead. No sequence runs in two places.
  void sequence_started(const std::string& key);
  void sequence_ended(const std::string& key);

 private:
  Runtime& runtime_;
  const bool trace_;
  std::optional<std::string> violation_;
  std::map<std::tuple<int, uint64_t, uint64_t>, uint64_t> plans_;
  std::set<std::string> running_;
};

// Those of the run.
Checks& checks();
Network& network();

}  // namespace octet::simulation
