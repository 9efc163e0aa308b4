#include "worker/stage/load_progress.h"

#include "base/log.h"

namespace octet::worker {
namespace {

constexpr Duration kLineInterval = std::chrono::seconds(2);

double gigabytes(int64_t bytes) {
  return static_cast<double>(bytes) * 1e-9;
}

}  // namespace

void LoadProgress::add(int64_t stored_bytes, const kernels::PackedWeight& packed) {
  const std::scoped_lock lock(mutex_);
  ++num_done_;
  stored_bytes_ += stored_bytes;
  packed_bytes_ += packed.num_bytes;
  formats_[static_cast<size_t>(packed.format)] = true;
  if (now() - last_line_ < kLineInterval) return;
  last_line_ = now();
  spdlog::info("packing weights: {}", summary());
}

void LoadProgress::finish() const {
  if (num_done_ > 0) spdlog::info("packed weights: {}", summary());
}

std::string LoadProgress::summary() const {
  std::string formats;
  for (const auto format :
       {kernels::WeightFormat::kBFloat16, kernels::WeightFormat::kInt8, kernels::WeightFormat::kFloat8}) {
    if (!formats_[static_cast<size_t>(format)]) continue;
    formats += formats.empty() ? name_of(format) : std::string(" and ") + name_of(format);
  }
  const double elapsed = seconds(now() - began_);
  return fmt::format("{} of {} matrices as {}, {:.2f} GB from {:.2f} GB in {:.2f} s, {:.1f} GB/s", num_done_,
                     num_matrices_, formats, gigabytes(packed_bytes_), gigabytes(stored_bytes_), elapsed,
                     gigabytes(stored_bytes_) / elapsed);
}

}  // namespace octet::worker
