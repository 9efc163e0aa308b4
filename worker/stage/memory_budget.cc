#include "worker/stage/memory_budget.h"

#include "absl/strings/str_cat.h"

namespace octet::worker {
namespace {

constexpr int64_t kReserveShare = 32;  // of the device's memory, one part

int64_t mebibytes(int64_t num_bytes) {
  return (num_bytes + (1 << 20) - 1) >> 20;
}

}  // namespace

absl::StatusOr<MemoryBudget> divide_memory(const kernels::DeviceMemory& device, const RankNeeds& needs) {
  MemoryBudget budget = {.total_bytes = device.total_bytes,
                         .used_bytes = device.total_bytes - device.free_bytes,
                         .weight_bytes = needs.weight_bytes,
                         .activation_bytes = needs.activation_bytes,
                         .reserve_bytes = device.total_bytes / kReserveShare};
  const int64_t left =
      device.free_bytes - budget.weight_bytes - budget.activation_bytes - budget.reserve_bytes;
  const int64_t wanted = needs.kv_cache_bytes.value_or(needs.sequence_bytes);
  if (wanted > left) {
    const bool is_given = needs.kv_cache_bytes.has_value();
    return absl::ResourceExhaustedError(absl::StrCat(
        "a rank's GPU lacks ", mebibytes(wanted - left), " MiB: of ", mebibytes(device.total_bytes), " MiB ",
        mebibytes(device.free_bytes), " are free, and it needs ", mebibytes(budget.weight_bytes),
        " for weights, ", mebibytes(budget.activation_bytes), " for activations, ",
        mebibytes(budget.reserve_bytes), " in reserve and ", mebibytes(wanted), " for ",
        is_given ? "its part of --kv-cache-mib" : "the KV cache of one sequence",
        "; more --stages or --tp divide the weights, less --max-batch-tokens the activations",
        is_given ? ", and less --kv-cache-mib the cache" : ""));
  }
  budget.kv_cache_bytes = needs.kv_cache_bytes.value_or(left);
  return budget;
}

std::string to_text(const MemoryBudget& budget) {
  return absl::StrCat(mebibytes(budget.total_bytes), " MiB: ", mebibytes(budget.used_bytes),
                      " in use before, ", mebibytes(budget.weight_bytes), " weights, ",
                      mebibytes(budget.activation_bytes), " activations, ", mebibytes(budget.reserve_bytes),
                      " in reserve, ", mebibytes(budget.kv_cache_bytes), " KV cache");
}

}  // namespace octet::worker
