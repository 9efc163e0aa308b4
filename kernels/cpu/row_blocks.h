// How packed_linear() divides rows into blocks that share registers, see packed_layout.h. Few rows are one
// block, so that a weight is read once; more are divided evenly into blocks that leave two panels' sums in
// registers.
#pragma once

#include "kernels/cpu/packed_simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

inline constexpr int kMaxBlockRowsAlone = kMaxSums;
inline constexpr int kMaxBlockRowsOfMany = kMaxSums == 4 ? 4 : kMaxSums / 2;

// Panels whose sums with so many rows fit in registers, a power of two.
constexpr int count_panels_at_once(int64_t rows) {
  int panels = 8;
  while (panels > 1 && rows * panels > kMaxSums) panels /= 2;
  return panels;
}

constexpr int64_t row_blocks_of(int64_t num_rows) {
  if (num_rows <= kMaxBlockRowsAlone) return 1;
  return (num_rows + kMaxBlockRowsOfMany - 1) / kMaxBlockRowsOfMany;
}
constexpr int64_t first_row_of(int64_t block, int64_t num_blocks, int64_t num_rows) {
  return num_rows * block / num_blocks;
}

}  // namespace
}  // namespace octet::kernels::OCTET_ISA
