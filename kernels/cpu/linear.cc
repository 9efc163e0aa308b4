// Matrix product with a weight that is stored output-major, as in the checkpoint: a dot product an element.
//
//   output[t, n] = epilogue(sum_k input[t, k] * weight[n, k])
//
// Shapes     output [num_rows, num_columns] fp32, input [num_rows, depth] fp32,
//            weight [num_columns, depth] bf16 or fp32. Rows may be strided.
// Requires   nothing of alignment: weights are read where the file is mapped.
// Mapping    a thread takes a contiguous part of the columns, so that it alone reads their weights. It walks
//            over them in tiles whose weights stay in its L2 cache, and over each tile in blocks of rows that
//            share registers: decode streams every weight once, prefill once a tile and then from L2.
// Precision  fp32 sums of fp32 products in dot_block()'s fixed order; bf16 widens exactly.
// Cost       num_columns * depth * (size of a weight) + 4 * num_rows * (depth + num_columns) bytes; with one
//            row memory bound. A rank's up projection at 340B, TP 8 is 9216 x 18432 x 2 = 340 MB.
// Checked by tests/kernels/linear_test.cc.
#include "kernels/cpu/dot_block.h"
#include "kernels/cpu/op_kernels.h"
#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

constexpr int64_t kTileBytes = 256 * 1024;  // of weights; a quarter to a half of L2

inline float apply(Epilogue epilogue, float x) {
  if (epilogue == Epilogue::kNone) return x;
  const float positive = x < 0.0f ? 0.0f : x;  // keeps a NaN visible
  return positive * positive;
}

// Rows [first_row, first_row + kRows), columns [first_column, last_column), kColumns at a time, the rest by
// halves.
template <int kRows, int kColumns, typename Weight>
void multiply_rows(const LinearArgs& args, int64_t first_row, int64_t first_column, int64_t last_column) {
  const float* rows[kRows];
  for (int r = 0; r < kRows; ++r) rows[r] = args.input + (first_row + r) * args.input_stride;
  int64_t n = first_column;
  for (; n + kColumns <= last_column; n += kColumns) {
    const Weight* columns[kColumns];
    for (int c = 0; c < kColumns; ++c) {
      columns[c] = static_cast<const Weight*>(args.weight) + (n + c) * args.weight_stride;
    }
    float sums[kRows * kColumns];
    dot_block<kRows, kColumns>(rows, columns, args.depth, sums, kColumns);
    for (int r = 0; r < kRows; ++r) {
      float* const output = args.output + (first_row + r) * args.output_stride + n;
      for (int c = 0; c < kColumns; ++c) output[c] = apply(args.epilogue, sums[r * kColumns + c]);
    }
  }
  if constexpr (kColumns > 1) {
    if (n < last_column) multiply_rows<kRows, kColumns / 2, Weight>(args, first_row, n, last_column);
  }
}

// All rows: blocks of kRows, then the rest with smaller blocks.
template <int kRows, typename Weight>
void multiply_tile(const LinearArgs& args, int64_t first_row, int64_t first_column, int64_t last_column) {
  int64_t t = first_row;
  for (; t + kRows <= args.num_rows; t += kRows) {
    multiply_rows<kRows, block_columns(kRows), Weight>(args, t, first_column, last_column);
  }
  if constexpr (kRows > 1) {
    if (t < args.num_rows) multiply_tile<kRows - 1, Weight>(args, t, first_column, last_column);
  }
}

template <typename Weight>
void multiply(const LinearArgs& args, int64_t first_column, int64_t last_column) {
  constexpr int64_t kWidest = block_columns(1);
  const int64_t row_bytes = args.depth * static_cast<int64_t>(sizeof(Weight));
  const int64_t fitting = row_bytes == 0 ? kWidest : kTileBytes / row_bytes / kWidest * kWidest;
  const int64_t tile_columns = fitting < kWidest ? kWidest : fitting;
  for (int64_t n = first_column; n < last_column; n += tile_columns) {
    const int64_t end = last_column - n < tile_columns ? last_column : n + tile_columns;
    multiply_tile<kMaxBlockRows, Weight>(args, 0, n, end);
  }
}

}  // namespace

void linear(const LinearArgs& args, int64_t first_column, int64_t last_column) {
  if (args.weight_type == DType::kBFloat16) {
    multiply<BFloat16>(args, first_column, last_column);
  } else {
    multiply<float>(args, first_column, last_column);
  }
}

}  // namespace octet::kernels::OCTET_ISA
