// Matrix product with a packed weight.
//
//   output[t, n] = epilogue(sum_k round(input[t, k]) * weight[n, k])
//
// Shapes     output [num_rows, num_columns] fp32, rows may be strided; input and weight as packed_layout.h
// says. Mapping    a thread takes a contiguous part of the panels. It walks over them a few at a time, as
// many as leave all
//            sums of a block of rows in registers, over their depth in pieces that stay in L2, and over the
//            blocks of rows. Up to kMaxSums rows are one block: every weight is then read once, from memory.
//            fp8 is expanded to bf16 a piece at a time.
// Precision  one chain of fp32 additions an element, in order of depth. bf16, fp8: packed_simd.h's pairs.
// int8: exact
//            int32 sums of a group of 32, then sum = fma(group, weight scale * row scale, sum).
// Cost       decode: the packed bytes once; prefill: 2 * num_rows * num_columns * depth operations, all but
// the sums'
//            loads and stores (one a piece or, for int8, a group) on registers. 64-byte loads a bf16 product:
//            14 / 24.
// Checked by tests/kernels/packed_linear_test.cc.
#include "kernels/cpu/float8.h"
#include "kernels/cpu/op_kernels.h"
#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/packed_simd.h"
#include "kernels/cpu/row_blocks.h"

namespace octet::kernels::OCTET_ISA {
namespace {

constexpr int64_t kPieceDepth = 2048;  // of two panels with many rows: 128 KB of bf16
constexpr int64_t kPrefetchBytes = 2048;

// A block of rows times a few panels, over a piece of the depth.
struct Block {
  const char* elements;    // [depth of the piece / 2 or 4][rows] Pair or Quad
  const float* scales;     // int8: [groups of the piece][rows]
  const int32_t* offsets;  // int8: the same
  float* sums;             // [rows][panels][kPanelColumns]
  bool starts;             // sums are to be set, not added to
};

// A piece of neighbouring panels.
struct Panels {
  const char* first;
  int64_t stride;  // bytes from a panel to the next
  int64_t depth;   // bf16: even; int8: a multiple of kBlockDepth
};

template <int kRows, int kPanels>
void multiply_pairs(const Block& block, const Panels& panels) {
  [[maybe_unused]] const FlushDenormals flush;
  const Pair* row_pairs = reinterpret_cast<const Pair*>(block.elements);
  F32x16 sums[kRows][kPanels];
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      sums[r][p] = block.starts ? zeros() : load(block.sums + (r * kPanels + p) * kPanelColumns);
    }
  }
  const char* weights = panels.first;
  const char* const end = weights + panels.depth / 2 * kPairBytes;
  for (; weights < end; weights += kPairBytes, row_pairs += kRows) {
    PairWeights w[kPanels];
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      w[p] = load_pair(weights + p * panels.stride);
      __builtin_prefetch(weights + p * panels.stride + kPrefetchBytes);
    }
#pragma GCC unroll 24
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) sums[r][p] = add_products(sums[r][p], w[p], row_pairs[r]);
    }
  }
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) store(block.sums + (r * kPanels + p) * kPanelColumns, sums[r][p]);
  }
}

// One group of 32: exact sums of the products, then scaled onto the block's sums.
template <int kRows, int kPanels>
inline void multiply_group(const char* weights, int64_t stride, const char* weight_scales,
                           const Quad* row_quads, const float* row_scales, const int32_t* row_offsets,
                           float* sums) {
  I32x16 group[kRows][kPanels];
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
    const I32x16 offset = broadcast_integer(row_offsets[r]);
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) group[r][p] = offset;
  }
#pragma GCC unroll 1
  for (int64_t quad = 0; quad < kGroupDepth / 4; ++quad) {
    QuadWeights w[kPanels];
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      w[p] = load_quad(weights + p * stride);
      __builtin_prefetch(weights + p * stride + kPrefetchBytes);
    }
#pragma GCC unroll 24
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) group[r][p] = add_products(group[r][p], w[p], row_quads[r]);
    }
    weights += kPanelColumns * 4;
    row_quads += kRows;
  }
  F32x16 scales[kPanels];
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; ++p) scales[p] = load_scales(weight_scales + p * stride);
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
    const F32x16 row_scale = broadcast(row_scales[r]);
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      float* const sum = sums + (r * kPanels + p) * kPanelColumns;
      store(sum, multiply_add(to_float(group[r][p]), scales[p] * row_scale, load(sum)));
    }
  }
}

template <int kRows, int kPanels>
void multiply_quads(const Block& block, const Panels& panels) {
  if (block.starts) __builtin_memset(block.sums, 0, sizeof(float) * kRows * kPanels * kPanelColumns);
  const Quad* row_quads = reinterpret_cast<const Quad*>(block.elements);
  const float* row_scales = block.scales;
  const int32_t* row_offsets = block.offsets;
  const char* weights = panels.first;
  for (int64_t k = 0; k < panels.depth; k += kBlockDepth, weights += kBlockBytes) {
    for (int64_t group = 0; group < kBlockGroups; ++group) {
      multiply_group<kRows, kPanels>(weights + group * kGroupDepth * kPanelColumns, panels.stride,
                                     weights + kBlockWeightBytes + group * kPanelColumns * 2, row_quads,
                                     row_scales, row_offsets, block.sums);
      row_quads += kGroupDepth / 4 * kRows;
      row_scales += kRows;
      row_offsets += kRows;
    }
  }
}

using Multiply = void (*)(const Block& block, const Panels& panels);

template <int kRows, int kPanels>
Multiply find_for_panels(WeightFormat format, int num_panels) {
  if (num_panels == kPanels) {
    return format == WeightFormat::kInt8 ? multiply_quads<kRows, kPanels> : multiply_pairs<kRows, kPanels>;
  }
  if constexpr (kPanels > 1) return find_for_panels<kRows, kPanels / 2>(format, num_panels);
  return nullptr;
}

template <int kRows>
Multiply find(WeightFormat format, int64_t num_rows, int num_panels) {
  if (num_rows == kRows) {
    return find_for_panels<kRows, count_panels_at_once(kRows)>(format, num_panels);
  }
  if constexpr (kRows > 1) return find<kRows - 1>(format, num_rows, num_panels);
  return nullptr;
}

// The rows of one call, and the thread's memory.
class Product {
 public:
  Product(const PackedLinearArgs& args, char* scratch)
      : args_(args),
        num_rows_(args.input.num_rows),
        num_blocks_(row_blocks_of(num_rows_)),
        sums_(reinterpret_cast<float*>(scratch)),
        expanded_(scratch + kPackedSumsBytes) {}

  int panels_at_once() const { return count_panels_at_once((num_rows_ + num_blocks_ - 1) / num_blocks_); }

  void multiply(int64_t first_panel, int num_panels) {
    const int64_t depth = padded_depth();
    const int64_t piece_depth = depth_of_piece(num_panels);
    for (int64_t k = 0; k < depth; k += piece_depth) {
      multiply_piece(panels_at(first_panel, num_panels, k, depth - k < piece_depth ? depth - k : piece_depth),
                     k, num_panels);
    }
    for (int p = 0; p < num_panels; ++p) write_panel(first_panel + p, p, num_panels);
  }

 private:
  WeightFormat format() const { return args_.input.format; }
  int64_t padded_depth() const {
    const int64_t part = format() == WeightFormat::kInt8 ? kBlockDepth : 2;
    return count_parts(args_.input.depth, part) * part;
  }
  int64_t depth_of_piece(int num_panels) const {
    if (format() == WeightFormat::kFloat8) {
      const int64_t most = num_blocks_ == 1 ? kPackedExpandedBytes / 4 : kPackedExpandedBytes;
      return most / (num_panels * kPairBytes) * 2;
    }
    return num_blocks_ == 1 ? padded_depth() : kPieceDepth;
  }

  // fp8: expands them.
  Panels panels_at(int64_t first_panel, int num_panels, int64_t k, int64_t depth) {
    const int64_t stride = panel_bytes(format(), args_.input.depth);
    const char* const first = args_.packed + first_panel * stride;
    if (format() == WeightFormat::kInt8) return {first + k / kBlockDepth * kBlockBytes, stride, depth};
    if (format() == WeightFormat::kBFloat16) return {first + k / 2 * kPairBytes, stride, depth};
    const int64_t expanded_stride = depth / 2 * kPairBytes;
    for (int p = 0; p < num_panels; ++p) {
      const char* const bytes = first + p * stride + k / 2 * kFloat8PairBytes;
      char* const out = expanded_ + p * expanded_stride;
      for (int64_t pair = 0; pair < depth / 2; ++pair) {
        __builtin_prefetch(bytes + pair * kFloat8PairBytes + kPrefetchBytes);
        expand_pair(bytes + pair * kFloat8PairBytes, out + pair * kPairBytes);
      }
    }
    return {expanded_, expanded_stride, depth};
  }

  void multiply_piece(const Panels& panels, int64_t k, int num_panels) {
    int64_t rows_of_function = 0;
    Multiply function = nullptr;
    for (int64_t b = 0; b < num_blocks_; ++b) {
      const int64_t first = first_row_of(b, num_blocks_, num_rows_);
      const int64_t rows = first_row_of(b + 1, num_blocks_, num_rows_) - first;
      if (rows != rows_of_function) function = find<kMaxBlockRowsAlone>(format(), rows, num_panels);
      rows_of_function = rows;
      function(block_at(first, rows, k, num_panels), panels);
    }
  }

  Block block_at(int64_t first, int64_t rows, int64_t k, int num_panels) const {
    const RoundedRows& input = args_.input;
    Block block = {};
    block.sums = sums_ + first * num_panels * kPanelColumns;
    block.starts = k == 0;
    if (format() == WeightFormat::kInt8) {
      const int64_t num_groups = padded_depth() / kGroupDepth;
      const int64_t group = first * num_groups + k / kGroupDepth * rows;
      block.elements = input.elements + group * (kGroupDepth / 4) * static_cast<int64_t>(sizeof(Quad));
      block.scales = input.scales + group;
      block.offsets = input.offsets + group;
    } else {
      const int64_t pair = first * (padded_depth() / 2) + k / 2 * rows;
      block.elements = input.elements + pair * static_cast<int64_t>(sizeof(Pair));
    }
    return block;
  }

  // The sums of one panel, all rows, to the output.
  void write_panel(int64_t panel, int index, int num_panels) const {
    const int64_t column = panel * kPanelColumns;
    const int64_t count =
        args_.num_columns - column < kPanelColumns ? args_.num_columns - column : kPanelColumns;
    F32x16 scales = broadcast(1.0f);
    if (format() == WeightFormat::kFloat8) {
      const char* const all =
          args_.packed + count_panels(args_.num_columns) * panel_bytes(format(), args_.input.depth);
      scales = load(reinterpret_cast<const float*>(all) + column);
    }
    for (int64_t t = 0; t < num_rows_; ++t) {
      // Blocks follow each other in sums_, so that a row's place does not depend on its block.
      F32x16 x = load(sums_ + (t * num_panels + index) * kPanelColumns) * scales;
      if (args_.epilogue == Epilogue::kSquaredRelu) {
        x = maximum(zeros(), x);  // keeps a NaN visible
        x = x * x;
      }
      float* const output = args_.output + t * args_.output_stride + column;
      if (count == kPanelColumns) {
        store(output, x);
      } else {
        store_first(output, x, count);
      }
    }
  }

  const PackedLinearArgs& args_;
  const int64_t num_rows_;
  const int64_t num_blocks_;
  float* const sums_;     // [num_rows][panels at once][kPanelColumns]
  char* const expanded_;  // fp8: a piece of the panels in bf16
};

}  // namespace

void packed_linear(const PackedLinearArgs& args, int64_t first_panel, int64_t last_panel, char* scratch) {
  Product product(args, scratch);
  int at_once = product.panels_at_once();
  for (int64_t panel = first_panel; panel < last_panel; panel += at_once) {
    while (panel + at_once > last_panel) at_once /= 2;
    product.multiply(panel, at_once);
  }
}

}  // namespace octet::kernels::OCTET_ISA
