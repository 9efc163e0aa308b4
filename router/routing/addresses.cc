#include "router/routing/addresses.h"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::router {
namespace {

constexpr std::string_view kDns = "dns:///";
constexpr uintmax_t kMaxFileBytes = 1 << 20;

std::string_view stripped(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

}  // namespace

std::string PipelineEntry::address() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  return is_v6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

absl::StatusOr<PipelineEntry> parse_pipeline_entry(std::string_view text) {
  PipelineEntry entry;
  std::string_view rest = text;
  entry.all_addresses = rest.starts_with(kDns);
  if (entry.all_addresses) rest.remove_prefix(kDns.size());
  const size_t colon = rest.rfind(':');
  std::string_view host = rest.substr(0, colon == std::string_view::npos ? 0 : colon);
  entry.port = colon == std::string_view::npos ? "" : rest.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  entry.host = host;
  int port = 0;
  const char* const end = entry.port.data() + entry.port.size();
  const auto parsed = std::from_chars(entry.port.data(), end, port);
  const bool port_is_good = parsed.ec == std::errc() && parsed.ptr == end && port >= 1 && port <= 65535;
  if (!port_is_good || host.empty() || host.find_first_of(" \t/[]") != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", absl_view(text), "' is neither HOST:PORT nor dns:///HOST:PORT with a port of 1 to 65535"));
  }
  return entry;
}

absl::Status check_pipeline_entries(const std::vector<std::string>& entries) {
  std::set<std::string> seen;
  for (const std::string& entry : entries) {
    const auto parsed = parse_pipeline_entry(entry);
    if (!parsed.ok()) return invalid_field("--pipeline", text_of(parsed.status()));
    if (!seen.insert(entry).second)
      return invalid_field("--pipeline", absl::StrCat("'", entry, "' is given twice"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> parse_pipelines_file(std::string_view text) {
  std::vector<std::string> entries;
  std::set<std::string> seen;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    line = stripped(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const auto parsed = parse_pipeline_entry(line);
    if (!parsed.ok())
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", parsed.status().message()));
    if (!seen.emplace(line).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": '", absl_view(line), "' is there twice"));
    }
    entries.emplace_back(line);
  }
  if (entries.empty()) return absl::InvalidArgumentError("it names no pipeline");
  return entries;
}

absl::StatusOr<std::vector<std::string>> read_pipelines_file(const std::string& path) {
  const auto failed = [&](std::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("--pipelines-file ", path, ": ", absl_view(why)));
  };
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return failed("is no file");
  if (std::filesystem::file_size(path, error) > kMaxFileBytes || error) return failed("has over 1 MiB");
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) return failed("cannot be read");
  auto entries = parse_pipelines_file(text);
  if (!entries.ok()) return failed(text_of(entries.status()));
  return entries;
}

}  // namespace octet::router
