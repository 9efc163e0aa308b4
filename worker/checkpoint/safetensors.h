// Reads HF safetensors: one file or an index of several, mapped into memory; nothing is copied and only
// touched pages are read. Every size, type and offset is checked before a pointer to it is given out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace octet::worker {

struct TensorEntry {
  std::string dtype;  // as the file says: "BF16", "F32", "F8_E4M3", ...
  std::vector<int64_t> shape;
  const void* data = nullptr;  // row-major, little-endian, mapped read-only for the Checkpoint's life
  int64_t num_bytes = 0;
  std::string file;  // for error messages
};

// The files must stay as they are while the Checkpoint lives: a file that is cut short under a mapping ends
// the process at the next read past its new end.
class Checkpoint {
 public:
  // Opens DIR/model.safetensors or DIR/model.safetensors.index.json. Errors name the file and the tensor:
  // NOT_FOUND, INVALID_ARGUMENT (broken header, offsets outside the file or overlapping, size unlike shape,
  // index naming a file outside DIR or a tensor that the file lacks).
  static absl::StatusOr<std::unique_ptr<Checkpoint>> open(const std::string& model_dir);
  ~Checkpoint();

  // The tensor, checked to have this shape and to be BF16 or F32, aligned to its elements. Errors: NOT_FOUND,
  // INVALID_ARGUMENT, naming file and tensor.
  absl::StatusOr<TensorEntry> tensor(std::string_view name, const std::vector<int64_t>& shape) const;
  // As above for one that may have any of these shapes and any of these dtypes.
  absl::StatusOr<TensorEntry> tensor(std::string_view name, const std::vector<std::vector<int64_t>>& shapes,
                                     const std::vector<std::string>& dtypes) const;

 private:
  struct Impl;
  explicit Checkpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::worker
