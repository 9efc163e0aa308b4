// How the CPU backend lays out packed weights, and the activations that it multiplies with them.
//
// A packed weight is a row of panels of 16 columns, so that a vector holds one depth step of 16 outputs and
// an output's sum is one lane: no sums across lanes, and the same additions for any number of rows.
//   bf16   panel: [num_pairs][16 columns][2] bf16, depth 2 * pair and 2 * pair + 1 of a column side by side
//   fp8    panel: [num_pairs / 2] of 64 bytes, four times { 8 weights of a pair, 8 of the next one } in
//          bf16's order, which unpacking the low and high halves of 16 bytes takes apart; after the last
//          panel [num_panels][16] fp32 scales
//   int8   panel: [num_blocks] of { [16 quads][16 columns][4] u8, the weight + 128; [2 groups][16] bf16
//          scales }, a block is 64 deep, a group 32
// Depth and columns are padded with zeros.
//
// Rounded activations lie in blocks of neighbouring rows, [num_pairs][rows of the block] pairs of bf16 or
// [num_quads][rows of the block] quads of int8, so that a block is read front to back.
#pragma once

#include <cstdint>

#include "kernels/packed_weight.h"

namespace octet::kernels {
namespace {

inline constexpr int64_t kPanelColumns = 16;
inline constexpr int64_t kGroupDepth = 32;  // int8: elements that share a scale
inline constexpr int64_t kBlockGroups = 2;  // int8: groups in a block
inline constexpr int64_t kBlockDepth = kGroupDepth * kBlockGroups;
inline constexpr int64_t kBlockWeightBytes = kBlockDepth * kPanelColumns;
inline constexpr int64_t kBlockBytes = kBlockWeightBytes + kBlockGroups * kPanelColumns * 2;
inline constexpr int64_t kPairBytes = kPanelColumns * 2 * 2;    // bf16: one pair of a panel
inline constexpr int64_t kFloat8PairBytes = kPanelColumns * 2;  // fp8: the same
inline constexpr int64_t kFloat8Depth = 4;                      // fp8: two pairs lie together

constexpr int64_t count_parts(int64_t size, int64_t part) {
  return (size + part - 1) / part;
}
constexpr int64_t count_panels(int64_t num_columns) {
  return count_parts(num_columns, kPanelColumns);
}

// To what the depth is padded.
constexpr int64_t depth_step(WeightFormat format) {
  if (format == WeightFormat::kInt8) return kBlockDepth;
  return format == WeightFormat::kFloat8 ? kFloat8Depth : 2;
}
constexpr int64_t padded_depth(WeightFormat format, int64_t depth) {
  return count_parts(depth, depth_step(format)) * depth_step(format);
}

// Bytes from a panel's start to depth k, a multiple of depth_step().
constexpr int64_t panel_offset(WeightFormat format, int64_t k) {
  if (format == WeightFormat::kInt8) return k / kBlockDepth * kBlockBytes;
  return k / 2 * (format == WeightFormat::kFloat8 ? kFloat8PairBytes : kPairBytes);
}

// Bytes from a panel to the next.
constexpr int64_t panel_bytes(WeightFormat format, int64_t depth) {
  return panel_offset(format, padded_depth(format, depth));
}

constexpr int64_t bytes_of_packed(WeightFormat format, int64_t num_columns, int64_t depth) {
  const int64_t num_panels = count_panels(num_columns);
  const int64_t scale_bytes = format == WeightFormat::kFloat8 ? num_panels * kPanelColumns * 4 : 0;
  return num_panels * panel_bytes(format, depth) + scale_bytes;
}

}  // namespace
}  // namespace octet::kernels
