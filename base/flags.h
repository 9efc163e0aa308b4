// Flags of a process: from the command line, a --config FILE of "name = value" lines, and the environment
// (OCTET_NAME). Every value is checked against its range and refused by the flag's name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"

namespace octet {

// Each add_* ties the flag "--name" to a variable of the caller, which keeps its value as the default. `help`
// is one or more full sentences; default, range and environment name are added to it.
class Flags {
 public:
  // program: "octet-worker". description: what --help says first.
  Flags(std::string program, std::string description);
  ~Flags();
  Flags(const Flags&) = delete;
  Flags& operator=(const Flags&) = delete;

  void add_text(const std::string& name, std::string* value, const std::string& help);
  void add_choice(const std::string& name, std::string* value, const std::vector<std::string>& choices,
                  const std::string& help);
  void add_number(const std::string& name, int* value, int min, int max, const std::string& help);
  void add_number(const std::string& name, uint32_t* value, uint32_t min, uint32_t max,
                  const std::string& help);
  void add_number(const std::string& name, int64_t* value, int64_t min, int64_t max, const std::string& help);
  void add_number(const std::string& name, double* value, double min, double max, const std::string& help);
  // "250ms", "10s", "2m", "1h"; a bare number is seconds.
  void add_duration(const std::string& name, Duration* value, Duration min, Duration max,
                    const std::string& help);
  // Without a value on the command line: true. In a file or the environment: true or false.
  void add_switch(const std::string& name, bool* value, const std::string& help);
  // Values separated by commas; empty ones are refused.
  void add_list(const std::string& name, std::vector<std::string>* value, const std::string& help);
  void add_list(const std::string& name, std::vector<int>* value, int min, int max, const std::string& help);

  enum class Outcome {
    kRun,
    kHelpPrinted,  // to stdout; the process ends with 0
  };
  // The command line wins over the file, the file over the environment. Errors: INVALID_ARGUMENT in one line
  // that names the flag or the file.
  absl::StatusOr<Outcome> parse(int argc, const char* const* argv);

  // The flag was given a value, wherever.
  bool given(const std::string& name) const;
  // What --help prints.
  std::string help() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "10s", "250ms": the shortest form that parses back to the same duration.
std::string duration_text(Duration duration);
// Errors: INVALID_ARGUMENT.
absl::StatusOr<Duration> parse_duration(std::string_view text);

}  // namespace octet
