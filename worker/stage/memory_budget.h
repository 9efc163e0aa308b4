// How a GPU's memory is divided: weights and activations first, what they leave is KV cache.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace octet::worker {

// What one rank needs on its device, in bytes. Each is found before anything is loaded.
struct RankNeeds {
  int64_t weight_bytes = 0;
  int64_t activation_bytes = 0;
  int64_t sequence_bytes = 0;                  // of KV cache for one sequence of the whole context
  std::optional<int64_t> kv_cache_bytes = {};  // as --kv-cache-mib says; nothing: all that is left
};

// Of one device, in bytes.
struct MemoryBudget {
  int64_t total_bytes = 0;
  int64_t used_bytes = 0;  // before: by the driver, NCCL and other processes
  int64_t weight_bytes = 0;
  int64_t activation_bytes = 0;
  int64_t reserve_bytes = 0;  // for what libraries take later, and for what allocations round up
  int64_t kv_cache_bytes = 0;
};

// Errors: RESOURCE_EXHAUSTED, which says how much is missing and which flags would help.
absl::StatusOr<MemoryBudget> divide_memory(const kernels::DeviceMemory& device, const RankNeeds& needs);

// One line, in MiB.
std::string to_text(const MemoryBudget& budget);

}  // namespace octet::worker
