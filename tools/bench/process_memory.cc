#include "tools/bench/process_memory.h"

#include <fstream>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace octet::bench {
namespace {

absl::StatusOr<std::string> read_proc(pid_t pid, absl::string_view file) {
  std::ifstream stream(absl::StrCat("/proc/", pid, "/", file));
  std::stringstream text;
  text << stream.rdbuf();
  if (!stream || text.str().empty()) return absl::NotFoundError(absl::StrCat("no process has the id ", pid));
  return text.str();
}

}  // namespace

std::optional<uint64_t> resident_bytes_of_page(absl::string_view page) {
  for (absl::string_view line : absl::StrSplit(page, '\n')) {
    uint64_t kib = 0;
    if (absl::ConsumePrefix(&line, "VmRSS:") && absl::ConsumeSuffix(&line, " kB") &&
        absl::SimpleAtoi(line, &kib)) {
      return kib * 1024;
    }
  }
  return std::nullopt;
}

absl::StatusOr<uint64_t> resident_bytes(pid_t pid) {
  const absl::StatusOr<std::string> page = read_proc(pid, "status");
  if (!page.ok()) return page.status();
  const std::optional<uint64_t> bytes = resident_bytes_of_page(*page);
  if (!bytes) return absl::NotFoundError(absl::StrCat("process ", pid, " has no memory of its own"));
  return *bytes;
}

absl::StatusOr<WatchedProcess> watch_process(pid_t pid) {
  const absl::StatusOr<std::string> name = read_proc(pid, "comm");
  if (!name.ok()) return name.status();
  if (const absl::StatusOr<uint64_t> bytes = resident_bytes(pid); !bytes.ok()) return bytes.status();
  return WatchedProcess{pid, std::string(absl::StripSuffix(*name, "\n")), std::nullopt, std::nullopt};
}

}  // namespace octet::bench
