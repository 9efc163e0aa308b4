// Rounds rows of activations to what a packed weight is multiplied with, in the layout that packed_linear()
// reads.
//
//   bf16 and fp8 weights   the nearest bf16, ties to even; denormals become zero
//   int8 weights           scale = max |x| of a group of 32 / 127, the nearest integer to x * (127 / max |x|)
//
// Shapes     input [num_rows, depth] fp32, rows may be strided; output as packed_layout.h says, zeros past
//            depth.
// Mapping    a thread takes a contiguous part of the blocks of rows.
// Precision  a row's values depend on that row only. A group with a NaN has the scale NaN, so that it stays
//            visible.
// Cost       4 + 2 (bf16) or 4 + 1 (int8) bytes an element; done once for all columns.
// Checked by tests/kernels/packed_linear_test.cc.
#include "kernels/cpu/op_kernels.h"
#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/packed_simd.h"
#include "kernels/cpu/row_blocks.h"

namespace octet::kernels::OCTET_ISA {
namespace {

inline F32x16 load_padded(const float* row, int64_t first, int64_t depth) {
  if (first + kLanes <= depth) return load(row + first);
  return first < depth ? load_first(row + first, depth - first) : zeros();
}

// One row into its place among the `stride` rows of a block.
void round_row_to_pairs(const float* row, int64_t depth, int64_t num_pairs, int64_t stride, Pair* out) {
  for (int64_t pair = 0; pair < num_pairs; pair += kLanes / 2) {
    Pair pairs[kLanes / 2];
    round_to_pairs(load_padded(row, 2 * pair, depth), pairs);
    const int64_t count = num_pairs - pair < kLanes / 2 ? num_pairs - pair : kLanes / 2;
    for (int64_t i = 0; i < count; ++i) out[(pair + i) * stride] = pairs[i];
  }
}

void round_row_to_quads(const float* row, int64_t depth, int64_t stride, Quad* out, float* scales,
                        int32_t* offsets) {
  const int64_t num_groups = count_parts(depth, kBlockDepth) * kBlockGroups;
  for (int64_t group = 0; group < num_groups; ++group) {
    const F32x16 low = load_padded(row, group * kGroupDepth, depth);
    const F32x16 high = load_padded(row, group * kGroupDepth + kLanes, depth);
    const float largest = largest_magnitude(low, high);
    // Below, 127 / largest could overflow.
    const bool vanishes = largest < 1e-30f;
    const F32x16 inverse = broadcast(vanishes ? 0.0f : 127.0f / largest);
    Quad quads[kGroupDepth / 4];
    const int32_t sum = round_to_quads(low * inverse, high * inverse, quads);
    Quad* const place = out + group * (kGroupDepth / 4) * stride;
    for (int i = 0; i < kGroupDepth / 4; ++i) place[i * stride] = quads[i];
    scales[group * stride] = vanishes ? 0.0f : largest / 127.0f;
    offsets[group * stride] = -128 * sum;
  }
}

}  // namespace

int64_t count_row_blocks(WeightFormat format, int64_t num_rows) {
  return row_blocks_of(format, num_rows);
}

void round_rows(const float* input, int64_t input_stride, const RoundedRows& rows, int64_t first_block,
                int64_t last_block) {
  const int64_t num_blocks = row_blocks_of(rows.format, rows.num_rows);
  const int64_t num_pairs = padded_depth(rows.format, rows.depth) / 2;
  const int64_t num_groups = padded_depth(rows.format, rows.depth) / kGroupDepth;
  for (int64_t block = first_block; block < last_block; ++block) {
    const int64_t first = first_row_of(block, num_blocks, rows.num_rows);
    const int64_t stride = first_row_of(block + 1, num_blocks, rows.num_rows) - first;
    for (int64_t r = 0; r < stride; ++r) {
      const float* const row = input + (first + r) * input_stride;
      if (rows.format == WeightFormat::kInt8) {
        Quad* const quads = reinterpret_cast<Quad*>(rows.elements) + first * num_groups * (kGroupDepth / 4);
        const int64_t group = first * num_groups + r;
        round_row_to_quads(row, rows.depth, stride, quads + r, rows.scales + group, rows.offsets + group);
      } else {
        Pair* const pairs = reinterpret_cast<Pair*>(rows.elements) + first * num_pairs;
        round_row_to_pairs(row, rows.depth, num_pairs, stride, pairs + r);
      }
    }
  }
}

}  // namespace octet::kernels::OCTET_ISA
