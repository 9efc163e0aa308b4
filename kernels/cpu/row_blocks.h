// How packed_linear() divides rows into blocks that share registers, see packed_layout.h. Few rows are one
// block, so that a weight is read once; more are divided evenly into blocks that leave two panels' sums in
// registers.
#pragma once

#include "kernels/cpu/packed_simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

struct BlockLimits {
  int sums;        // vectors of sums in registers
  int rows_alone;  // of a single block
  int rows_of_many;
};

// int8 keeps half as many sums as there is room for: it scales them every 32 elements, and the next group's
// products hide that only while they fit in the processor's window beside it.
constexpr BlockLimits block_limits(WeightFormat format) {
  constexpr int kHalf = kMaxSums < 8 ? kMaxSums : kMaxSums / 2;
  if (format == WeightFormat::kInt8) return {kHalf, kHalf, kHalf < 8 ? kHalf : kHalf / 2};
  return {kMaxSums, kMaxSums, kHalf};
}

// Panels whose sums with so many rows fit in registers, a power of two.
constexpr int count_panels_at_once(WeightFormat format, int64_t rows) {
  int panels = int{kMaxPanelsAtOnce};
  while (panels > 1 && rows * panels > block_limits(format).sums) panels /= 2;
  return panels;
}

constexpr int64_t row_blocks_of(WeightFormat format, int64_t num_rows) {
  const BlockLimits limits = block_limits(format);
  if (num_rows <= limits.rows_alone) return 1;
  return (num_rows + limits.rows_of_many - 1) / limits.rows_of_many;
}
constexpr int64_t first_row_of(int64_t block, int64_t num_blocks, int64_t num_rows) {
  return num_rows * block / num_blocks;
}

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
