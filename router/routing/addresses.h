// How the leads of pipelines are named: in --pipeline, and in the lines of --pipelines-file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace octet::router {

// "HOST:PORT" is one lead; "dns:///HOST:PORT" is one at each address that the name has.
struct PipelineEntry {
  std::string host;  // without the brackets of an IPv6 address
  std::string port;
  bool all_addresses = false;

  // "HOST:PORT" as gRPC takes it.
  std::string address() const;
};

// Errors: INVALID_ARGUMENT with the text.
absl::StatusOr<PipelineEntry> parse_pipeline_entry(std::string_view text);

// Each entry is valid and none is there twice. Errors: invalid_field("--pipeline") with the entry.
absl::Status check_pipeline_entries(const std::vector<std::string>& entries);

// The lines of a --pipelines-file, without comments ("#" to the end of the line) and empty lines. Errors:
// INVALID_ARGUMENT with the line's number: an entry that is not valid or is there twice, or no entry at all,
// as in a file that is about to be written.
absl::StatusOr<std::vector<std::string>> parse_pipelines_file(std::string_view text);

// The same from a file. Errors: besides, the file cannot be read, is no regular file, or has over a mebibyte.
absl::StatusOr<std::vector<std::string>> read_pipelines_file(const std::string& path);

}  // namespace octet::router
