#include "tests/simulation/checks.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "tests/simulation/network.h"
#include "tests/simulation/runtime.h"

namespace octet::simulation {
namespace {

std::string process_name(const Runtime& runtime) {
  return runtime.process() ? runtime.process()->name : "world";
}

// What the code under test logs: a line of the trace. An epoch that ends for another reason than a stage that
// is gone or silent ends by an error of the code itself.
class TracingLogger final : public spdlog::logger {
 public:
  explicit TracingLogger(Checks& checks) : logger("simulation"), checks_(checks) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::string text(message.payload.data(), message.payload.size());
    checks_.trace(text);
    for (const char* wrong : {"contradicts", "was due", "joined twice", "out of order", "of another plan"}) {
      if (text.find(wrong) != std::string::npos) checks_.violation(absl::StrCat("logged: ", text));
    }
  }

  Checks& checks_;
};

}  // namespace

Checks::Checks(Runtime& runtime, bool trace) : runtime_(runtime), trace_(trace) {
  auto logger = std::make_shared<TracingLogger>(*this);
  logger->set_level(trace ? spdlog::level::info : spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
}

Checks::~Checks() {
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("none"));
}

void Checks::violation(const std::string& text) {
  if (runtime_.process() && !runtime_.process()->alive) return;  // nobody hears of it
  const std::string line = absl::StrCat(process_name(runtime_), ": ", text);
  trace(absl::StrCat("VIOLATION: ", text));
  if (!violation_) violation_ = absl::StrCat(absl::StrFormat("at %.6f s: ", seconds(runtime_.time())), line);
}

void Checks::trace(const std::string& text) const {
  if (!trace_) return;
  std::printf("%12.6f %-10s %s\n", seconds(runtime_.time()), process_name(runtime_).c_str(), text.c_str());
}

void Checks::plan_sent(int pipeline, uint64_t epoch, uint64_t step, uint64_t digest) {
  plans_[{pipeline, epoch, step}] = digest;
}

void Checks::plan_executed(int pipeline, int stage, uint64_t epoch, uint64_t step, uint64_t digest) {
  const auto found = plans_.find({pipeline, epoch, step});
  if (found == plans_.end() || found->second != digest) {
    violation(absl::StrCat("pipeline ", pipeline, " stage ", stage, " executes in epoch ", epoch, " a step ",
                           step, " that its lead did not send in it"));
  }
}

void Checks::sequence_started(const std::string& key) {
  if (!running_.insert(key).second) violation(absl::StrCat("the sequence \"", key, "\" is started twice"));
}

void Checks::sequence_ended(const std::string& key) {
  running_.erase(key);
}

}  // namespace octet::simulation
