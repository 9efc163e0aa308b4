// The header of one safetensors file, and the index of several: JSON turned into checked values. Knows
// nothing of files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace octet::worker {

// The format's own limit on the JSON of a header; the same is used for an index.
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;

struct TensorRecord {
  std::string dtype;
  int64_t element_bytes = 0;
  std::vector<int64_t> shape;
  uint64_t offset = 0;  // of the first byte, from the start of the file
  uint64_t num_bytes = 0;
};

using TensorRecords = std::map<std::string, TensorRecord, std::less<>>;

// Reads the header of a whole file's bytes. Every record lies inside the file, overlaps no other, and has the
// size that its type and shape say. Errors: INVALID_ARGUMENT naming `path` and the tensor.
absl::StatusOr<TensorRecords> read_safetensors_header(std::span<const std::byte> file,
                                                      absl::string_view path);

// Reads model.safetensors.index.json: which file of the same folder holds each tensor. Errors:
// INVALID_ARGUMENT naming `path`, also for an entry that is not a plain file name.
absl::StatusOr<std::map<std::string, std::string>> read_safetensors_index(std::span<const std::byte> file,
                                                                          absl::string_view path);

// A name out of a file made safe and short enough for an error message.
std::string quoted(absl::string_view name);

}  // namespace octet::worker
