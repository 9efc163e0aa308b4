// octet-simulate: runs seeds of the simulation. See README.md.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>

#include "tests/simulation/world.h"

namespace octet::simulation {
namespace {

struct Arguments {
  uint64_t first = 0;
  uint64_t last = 0;
  bool all = false;  // go on after a violation
  RunOptions run;
  std::string tokenizer = "deploy/nano/tokenizer.model";
};

[[noreturn]] void usage() {
  std::fputs(
      "octet-simulate --seeds A..B | --seed N  [--trace] [--only FAULT] [--break NAME] [--all] [--tokenizer "
      "FILE]\n"
      "  --seeds A..B   run these seeds, until one breaks what must hold\n"
      "  --seed N       run one\n"
      "  --trace        print what happens\n"
      "  --only FAULT   no other kind of fault (the names are in the summary)\n"
      "  --break NAME    make a fault that must be found:",
      stderr);
  for (const BreakName& each : kBreaks) std::fprintf(stderr, " %s", std::string(each.name).c_str());
  std::fputs("\n  --all          go on after a violation\n", stderr);
  std::exit(2);
}

Break break_of(std::string_view name) {
  for (const BreakName& each : kBreaks) {
    if (each.name == name) return each.which;
  }
  usage();
}

Fault fault_of(std::string_view name) {
  for (int i = 0; i < kNumFaults; ++i) {
    if (name_of(static_cast<Fault>(i)) == name) return static_cast<Fault>(i);
  }
  usage();
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  bool has_seeds = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const auto value = [&]() -> std::string { return i + 1 < argc ? argv[++i] : (usage(), ""); };
    if (name == "--seed" || name == "--seeds") {
      const std::string seeds = value();
      char* end = nullptr;
      arguments.first = arguments.last = std::strtoull(seeds.c_str(), &end, 10);
      if (std::string_view(end).substr(0, 2) == "..") arguments.last = std::strtoull(end + 2, &end, 10);
      if (*end != '\0' || seeds.empty()) usage();
      has_seeds = true;
    } else if (name == "--trace") {
      arguments.run.trace = true;
    } else if (name == "--all") {
      arguments.all = true;
    } else if (name == "--only") {
      arguments.run.only = fault_of(value());
    } else if (name == "--break") {
      arguments.run.broken = break_of(value());
    } else if (name == "--tokenizer") {
      arguments.tokenizer = value();
    } else {
      usage();
    }
  }
  if (!has_seeds) usage();
  return arguments;
}

void print(const Tally& tally, double seconds) {
  static constexpr const char* kOutcomes[] = {"running", "whole",     "deadline",  "refused",
                                              "failed",  "displaced", "cancelled", "router lost"};
  std::printf("%llu seeds in %.1f s: %.0f a minute, %llu events, %llu tokens\n",
              static_cast<unsigned long long>(tally.num_runs), seconds,
              static_cast<double>(tally.num_runs) / seconds * 60,
              static_cast<unsigned long long>(tally.num_events),
              static_cast<unsigned long long>(tally.num_tokens));
  std::printf("requests:");
  for (size_t i = 1; i < std::size(tally.num_calls); ++i)
    std::printf(" %llu %s%s", static_cast<unsigned long long>(tally.num_calls[i]), kOutcomes[i],
                i + 1 < std::size(tally.num_calls) ? "," : "\n");
  std::printf("at most %.1f s from the last fault to ready pipelines (seed %llu)\n",
              octet::seconds(tally.longest_recovery),
              static_cast<unsigned long long>(tally.longest_recovery_seed));
  std::printf("%llu epochs, %llu preemptions, %llu prefix tokens found; faults:",
              static_cast<unsigned long long>(tally.num_epochs),
              static_cast<unsigned long long>(tally.num_preemptions),
              static_cast<unsigned long long>(tally.num_prefix_hit_tokens));
  for (int i = 0; i < kNumFaults; ++i)
    std::printf(" %llu %s", static_cast<unsigned long long>(tally.num_faults[i]),
                std::string(name_of(static_cast<Fault>(i))).c_str());
  std::printf("\n");
}

// For a run that ends the program: a check of the code under test, or worse.
uint64_t running_seed = 0;

void tell_seed(int signal) {
  std::signal(signal, SIG_DFL);
  std::printf("seed %llu ended the program by signal %d\n", static_cast<unsigned long long>(running_seed),
              signal);
  std::fflush(stdout);
  std::raise(signal);
}

int run(const Arguments& arguments) {
  const Installation installation = Installation::load(arguments.tokenizer);
  timespec began{};
  clock_gettime(CLOCK_MONOTONIC, &began);
  std::signal(SIGABRT, tell_seed);
  Tally tally;
  uint64_t num_violations = 0;
  for (uint64_t seed = arguments.first; seed <= arguments.last; ++seed) {
    running_seed = seed;
    const RunResult result = run_seed(seed, installation, arguments.run);
    tally.add(result.tally);
    if (arguments.first == arguments.last)
      std::printf("seed %llu, digest %016llx\n", static_cast<unsigned long long>(seed),
                  static_cast<unsigned long long>(result.digest));
    if (!result.violation) continue;
    ++num_violations;
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), result.violation->c_str());
    if (!arguments.all) break;
  }
  timespec ended{};
  clock_gettime(CLOCK_MONOTONIC, &ended);
  print(tally, static_cast<double>(ended.tv_sec - began.tv_sec) +
                   static_cast<double>(ended.tv_nsec - began.tv_nsec) * 1e-9);
  if (num_violations > 0)
    std::printf("%llu seeds broke what must hold; replay one with --seed N --trace\n",
                static_cast<unsigned long long>(num_violations));
  return num_violations > 0 ? 1 : 0;
}

}  // namespace
}  // namespace octet::simulation

int main(int argc, char** argv) {
  return octet::simulation::run(octet::simulation::parse(argc, argv));
}
