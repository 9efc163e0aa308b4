// Matrix product with a packed weight.
//
//   output[t, n] = epilogue(sum_k round(input[t, k]) * weight[n, k])
//
// Shapes     output [num_rows, num_columns] fp32, rows may be strided; input and weight as packed_layout.h
//            says.
// Mapping    a thread takes a contiguous part of the panels. It walks over them a few at a time, as many as
//            leave all sums of a block of rows in registers, over their depth in pieces that stay in L1, and
//            over the blocks of rows. Up to block_limits().rows_alone rows are one block: every weight is
//            then read once, from memory. fp8 is expanded to bf16 a piece at a time.
// Precision  one chain of fp32 additions an element, in order of depth. bf16, fp8: packed_simd.h's pairs.
//            int8: exact int32 sums of a group of 32, then sum = fma(group, weight scale * row scale, sum).
// Cost       decode: the packed bytes once; prefill: 2 * num_rows * num_columns * depth operations, all but
//            the sums' loads and stores (one a piece or, for int8, a group) on registers. Loads a bf16
//            product: 14 / 24.
// Checked by tests/kernels/packed_linear_test.cc.
#include "kernels/cpu/float8.h"
#include "kernels/cpu/op_kernels.h"
#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/packed_simd.h"
#include "kernels/cpu/row_blocks.h"

namespace octet::kernels::OCTET_ISA {
namespace {

constexpr int64_t kPieceDepth = 512;   // of two panels with many rows: 32 KB of bf16
constexpr int64_t kAheadBytes = 8192;  // prefetched ahead of where panels are read, in all

// A block of rows times a few panels, over a piece of the depth.
struct Block {
  const char* elements;    // [depth of the piece / 2 or 4][rows] Pair or Quad
  const float* scales;     // int8: [groups of the piece][rows]
  const int32_t* offsets;  // int8: the same
  float* sums;             // [rows][panels][kPanelColumns]
  bool starts;             // sums are to be set, not added to
};

// A piece of neighbouring panels, and what to prefetch while it is multiplied: for each 64 bytes of a panel
// the line at `ahead`, which then moves on by ahead_step.
struct Panels {
  const char* first;
  int64_t stride;  // bytes from a panel to the next
  int64_t depth;   // bf16: even; int8: a multiple of kBlockDepth
  const char* ahead;
  int64_t ahead_step;
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
  const char* ahead = panels.ahead;
  const char* const end = weights + panels.depth / 2 * kPairBytes;
  for (; weights < end; weights += kPairBytes, row_pairs += kRows, ahead += panels.ahead_step) {
    PairWeights w[kPanels];
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      w[p] = load_pair(weights + p * panels.stride);
      __builtin_prefetch(ahead + p * panels.stride);
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

// Where multiply_group() is in a block of rows and in the panels.
struct GroupPlace {
  const char* weights;        // [8 quads] of the first panel
  const char* weight_scales;  // [kPanelColumns] bf16
  const char* ahead;
  const Quad* quads;       // [8][rows]
  const float* scales;     // [rows]
  const int32_t* offsets;  // [rows]
};

// One group of 32: exact sums of the products, then scaled onto the block's sums.
template <int kRows, int kPanels>
[[gnu::always_inline]] inline void multiply_group(GroupPlace place, const Panels& panels, float* sums) {
  I32x16 group[kRows][kPanels];
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
    const I32x16 offset = broadcast_integer(place.offsets[r]);
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) group[r][p] = offset;
  }
#pragma GCC unroll 1
  for (int64_t quad = 0; quad < kGroupDepth / 4; ++quad) {
    QuadWeights w[kPanels];
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      w[p] = load_quad(place.weights + p * panels.stride);
      __builtin_prefetch(place.ahead + p * panels.stride);
    }
#pragma GCC unroll 24
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) group[r][p] = add_products(group[r][p], w[p], place.quads[r]);
    }
    place.weights += kPanelColumns * 4;
    place.ahead += panels.ahead_step;
    place.quads += kRows;
  }
  F32x16 scales[kPanels];
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; ++p) scales[p] = load_scales(place.weight_scales + p * panels.stride);
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r) {
    const F32x16 row_scale = broadcast(place.scales[r]);
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
  const Quad* const quads = reinterpret_cast<const Quad*>(block.elements);
  const char* weights = panels.first;
  const char* ahead = panels.ahead;
  for (int64_t first_group = 0; first_group * kGroupDepth < panels.depth; first_group += kBlockGroups) {
    for (int64_t g = 0; g < kBlockGroups; ++g) {
      const int64_t group = first_group + g;
      multiply_group<kRows, kPanels>({.weights = weights + g * kGroupDepth * kPanelColumns,
                                      .weight_scales = weights + kBlockWeightBytes + g * kPanelColumns * 2,
                                      .ahead = ahead + g * (kGroupDepth / 4) * panels.ahead_step,
                                      .quads = quads + group * (kGroupDepth / 4) * kRows,
                                      .scales = block.scales + group * kRows,
                                      .offsets = block.offsets + group * kRows},
                                     panels, block.sums);
    }
    weights += kBlockBytes;
    ahead += kBlockBytes / 64 * panels.ahead_step;
  }
}

using Multiply = void (*)(const Block& block, const Panels& panels);

template <WeightFormat kFormat, int kRows, int kPanels>
Multiply find_for_panels(int num_panels) {
  if (num_panels == kPanels) {
    if constexpr (kFormat == WeightFormat::kInt8) {
      return multiply_quads<kRows, kPanels>;
    } else {
      return multiply_pairs<kRows, kPanels>;
    }
  }
  if constexpr (kPanels > 1) return find_for_panels<kFormat, kRows, kPanels / 2>(num_panels);
  return nullptr;
}

template <WeightFormat kFormat, int kRows = block_limits(kFormat).rows_alone>
Multiply find(int64_t num_rows, int num_panels) {
  if (num_rows == kRows) {
    return find_for_panels<kFormat, kRows, count_panels_at_once(kFormat, kRows)>(num_panels);
  }
  if constexpr (kRows > 1) return find<kFormat, kRows - 1>(num_rows, num_panels);
  return nullptr;
}

Multiply find(WeightFormat format, int64_t num_rows, int num_panels) {
  if (format == WeightFormat::kInt8) return find<WeightFormat::kInt8>(num_rows, num_panels);
  return find<WeightFormat::kBFloat16>(num_rows, num_panels);
}

// The rows of one call times a thread's panels, and the thread's memory.
class Product {
 public:
  Product(const PackedLinearArgs& args, char* scratch)
      : args_(args),
        format_(args.input.format),
        num_rows_(args.input.num_rows),
        num_blocks_(row_blocks_of(format_, num_rows_)),
        padded_depth_(padded_depth(format_, args.input.depth)),
        panel_bytes_(panel_bytes(format_, args.input.depth)),
        sums_(reinterpret_cast<float*>(scratch)),
        expanded_(scratch + kPackedSumsBytes) {}

  int panels_at_once() const {
    return count_panels_at_once(format_, (num_rows_ + num_blocks_ - 1) / num_blocks_);
  }

  void multiply(int64_t first_panel, int num_panels, bool is_last) {
    const char* const first = args_.packed + first_panel * panel_bytes_;
    const char* const next = is_last ? nullptr : first + num_panels * panel_bytes_;
    for (int64_t k = 0; k < padded_depth_;) {
      const int64_t depth = depth_of_piece(k, num_panels);
      const bool ends = k + depth == padded_depth_;
      multiply_piece(
          panels_at(first, num_panels, k, depth, ends ? next : first + panel_offset(format_, k + depth)), k,
          num_panels);
      k += depth;
    }
    if (padded_depth_ == 0) {
      __builtin_memset(sums_, 0, sizeof(float) * static_cast<size_t>(num_rows_ * num_panels * kPanelColumns));
    }
    for (int p = 0; p < num_panels; ++p) write_panel(first_panel + p, p, num_panels);
  }

 private:
  // How much of the depth to take from k on. Alone, a block of rows reads the panels from memory: all but
  // their end prefetches itself, and their end prefetches the next panels. Many blocks read a
  // piece from L1, all but the first.
  int64_t depth_of_piece(int64_t k, int num_panels) const {
    const int64_t left = padded_depth_ - k;
    int64_t depth = kPieceDepth;
    if (format_ == WeightFormat::kFloat8) {
      const int64_t expanded_bytes = num_blocks_ == 1 ? kPackedExpandedBytes / 16 : kPackedExpandedBytes;
      depth = expanded_bytes / (num_panels * kPairBytes) * 2;
    } else if (num_blocks_ == 1) {
      depth =
          left - ahead_bytes(num_panels) / panel_offset(format_, depth_step(format_)) * depth_step(format_);
      if (depth <= 0) depth = left;
    }
    return depth < left ? depth : left;
  }
  static int64_t ahead_bytes(int num_panels) { return kAheadBytes / num_panels; }

  // next: the panels or piece that is multiplied after this one, or nullptr.
  Panels panels_at(const char* first, int num_panels, int64_t k, int64_t depth, const char* next) {
    if (format_ == WeightFormat::kFloat8) return expand(first + panel_offset(format_, k), num_panels, depth);
    const char* const weights = first + panel_offset(format_, k);
    if (num_blocks_ == 1 && k + depth < padded_depth_) next = weights + ahead_bytes(num_panels);
    if (next == nullptr) return {weights, panel_bytes_, depth, weights, 0};
    return {weights, panel_bytes_, depth, next, 64};
  }

  Panels expand(const char* bytes, int num_panels, int64_t depth) {
    const int64_t stride = depth / 2 * kPairBytes;
    for (int p = 0; p < num_panels; ++p, bytes += panel_bytes_) {
      for (int64_t pair = 0; pair < depth / 2; pair += 2) {
        __builtin_prefetch(bytes + pair * kFloat8PairBytes + kAheadBytes / 4);
        expand_pairs(bytes + pair * kFloat8PairBytes, expanded_ + p * stride + pair * kPairBytes);
      }
    }
    return {expanded_, stride, depth, expanded_, 0};
  }

  void multiply_piece(Panels panels, int64_t k, int num_panels) {
    // What the next piece needs comes in evenly over all blocks.
    const int64_t ahead_bytes_of_block =
        panels.ahead_step * panel_offset(format_, panels.depth) / 64 / num_blocks_ / 64 * 64;
    panels.ahead_step /= num_blocks_;
    int64_t rows_of_function = 0;
    Multiply function = nullptr;
    for (int64_t b = 0; b < num_blocks_; ++b) {
      const int64_t first = first_row_of(b, num_blocks_, num_rows_);
      const int64_t rows = first_row_of(b + 1, num_blocks_, num_rows_) - first;
      if (rows != rows_of_function) function = find(format_, rows, num_panels);
      rows_of_function = rows;
      function(block_at(first, rows, k, num_panels), panels);
      panels.ahead += ahead_bytes_of_block;
    }
  }

  Block block_at(int64_t first, int64_t rows, int64_t k, int num_panels) const {
    const RoundedRows& input = args_.input;
    Block block = {};
    block.sums = sums_ + first * num_panels * kPanelColumns;
    block.starts = k == 0;
    if (format_ == WeightFormat::kInt8) {
      const int64_t group = first * (padded_depth_ / kGroupDepth) + k / kGroupDepth * rows;
      block.elements = input.elements + group * (kGroupDepth / 4) * static_cast<int64_t>(sizeof(Quad));
      block.scales = input.scales + group;
      block.offsets = input.offsets + group;
    } else {
      const int64_t pair = first * (padded_depth_ / 2) + k / 2 * rows;
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
    if (format_ == WeightFormat::kFloat8) {
      const char* const all = args_.packed + count_panels(args_.num_columns) * panel_bytes_;
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
  const WeightFormat format_;
  const int64_t num_rows_;
  const int64_t num_blocks_;
  const int64_t padded_depth_;
  const int64_t panel_bytes_;
  float* const sums_;     // [num_rows][panels at once][kPanelColumns]
  char* const expanded_;  // fp8: a piece of the panels in bf16
};

}  // namespace

void packed_linear(const PackedLinearArgs& args, int64_t first_panel, int64_t last_panel, char* scratch) {
  Product product(args, scratch);
  // The panels after the thread's own are prefetched too: it most often takes them next.
  const int64_t num_panels = count_panels(args.num_columns);
  int at_once = product.panels_at_once();
  for (int64_t panel = first_panel; panel < last_panel; panel += at_once) {
    while (panel + at_once > last_panel) at_once /= 2;
    product.multiply(panel, at_once, panel + at_once >= num_panels);
  }
}

}  // namespace octet::kernels::OCTET_ISA
