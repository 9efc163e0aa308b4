// Flags from a command line and from a file: every value that is taken is in its range.
#include "base/flags.h"

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/check.h"
#include "tests/fuzz/input.h"

namespace octet {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A file with this text, for as long as it lives.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view text) : file_(memfd_create("flags", 0)) {
    OCTET_CHECK(write(file_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  ~MemoryFile() { close(file_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  const int file_;
};

void parse(const std::vector<std::string>& arguments) {
  Flags flags("program", "A program.");
  int number = 5;
  int64_t large = 5;
  double real = 0.5;
  Duration duration = seconds(5);
  bool is_on = false;
  std::string text;
  std::string choice = "a";
  std::vector<std::string> list;
  std::vector<int> numbers;
  flags.add_number("number", &number, 1, 10, "A number.");
  flags.add_number("large", &large, int64_t{0}, int64_t{1} << 40, "A number.");
  flags.add_number("real", &real, 0.0, 1.0, "A number.");
  flags.add_duration("duration", &duration, milliseconds(1), hours(1), "A time.");
  flags.add_switch("switch", &is_on, "A switch.");
  flags.add_text("text", &text, "A text.");
  flags.add_choice("choice", &choice, {"a", "b"}, "A choice.");
  flags.add_list("list", &list, "A list.");
  flags.add_list("numbers", &numbers, 1, 10, "Numbers.");
  std::vector<const char*> argv = {"program"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  const auto outcome = flags.parse(static_cast<int>(argv.size()), argv.data());
  OCTET_CHECK(outcome.ok() || absl::IsInvalidArgument(outcome.status()), outcome.status());
  OCTET_CHECK(number >= 1 && number <= 10, number);
  OCTET_CHECK(large >= 0 && large <= int64_t{1} << 40, large);
  OCTET_CHECK(real >= 0 && real <= 1, real);
  OCTET_CHECK(duration >= milliseconds(1) && duration <= hours(1), duration.count());
  OCTET_CHECK(choice == "a" || choice == "b", choice);
  for (const std::string& entry : list) OCTET_CHECK(!entry.empty());
  for (const int entry : numbers) OCTET_CHECK(entry >= 1 && entry <= 10, entry);
}

void check_duration(std::string_view text) {
  const auto duration = parse_duration(text);
  if (!duration.ok()) return;
  OCTET_CHECK(*duration >= Duration::zero(), duration->count());
  const auto whole = std::chrono::duration_cast<milliseconds>(*duration);
  OCTET_CHECK(parse_duration(duration_text(whole)).value() == whole, duration_text(whole));
}

}  // namespace
}  // namespace octet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  octet::fuzz::Input input(data, size);
  const uint32_t kind = input.below(3);
  if (kind == 0) {
    octet::check_duration(input.rest());
  } else if (kind == 1) {
    const octet::MemoryFile file(input.rest());
    octet::parse({"--config", file.path()});
  } else {
    std::vector<std::string> arguments;
    while (!input.empty()) {
      arguments.emplace_back(input.line());
      if (arguments.back().starts_with("-h") || arguments.back().starts_with("--help")) return -1;  // prints
    }
    octet::parse(arguments);
  }
  return 0;
}
