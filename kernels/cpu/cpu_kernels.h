// The kernels that exist once for each instruction set, as a table of functions over plain pointers. Each
// file of kernels in this folder is compiled once for each set (see kernels/CMakeLists.txt) into namespace
// octet::kernels::OCTET_ISA, and kernel_table.cc makes the table.
//
// Code compiled for a wider instruction set than the machine may have must not leak into the rest of the
// program: the linker keeps one of several copies of an inline function, perhaps the wide one. So these files
// call no inline function with external linkage, the standard library's included; what they share is in
// anonymous namespaces. tests/kernels checks their objects for weak symbols.
//
// Each function does a part [first, last) of an op's rows, columns or tiles; parts may run on different
// threads, and the bits do not depend on how an op is divided.
#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/tensor.h"

namespace octet::kernels {

// fp32 lanes of the vectors in simd.h.
inline constexpr int64_t kLanes = 16;

struct EmbeddingArgs {
  float* output;          // [num_tokens, hidden]
  const int32_t* tokens;  // [num_tokens]
  const void* table;      // [num_rows, hidden] of table_type
  DType table_type;
  int64_t output_stride;
  int64_t table_stride;
  int64_t num_table_rows;
  int64_t hidden;
  int32_t first_token;
};

struct LayerNormArgs {
  float* output;       // [num_tokens, hidden]
  const float* input;  // [num_tokens, hidden]
  const void* weight;  // [hidden] of weight_type
  const void* bias;    // [hidden] of bias_type
  DType weight_type;
  DType bias_type;
  int64_t output_stride;
  int64_t input_stride;
  int64_t hidden;
  float epsilon;
};

struct LinearArgs {
  float* output;       // [num_rows, num_columns]
  const float* input;  // [num_rows, depth]
  const void* weight;  // [num_columns, depth] of weight_type
  DType weight_type;
  int64_t output_stride;
  int64_t input_stride;
  int64_t weight_stride;
  int64_t num_rows;
  int64_t depth;
  Epilogue epilogue;
};

// See packed_layout.h for the layouts.
struct PackArgs {
  char* packed;
  const void* weight;  // [num_columns, depth] of weight_type
  DType weight_type;
  int64_t weight_stride;
  int64_t num_columns;
  int64_t depth;
  const float* scales;  // of an fp8 weight: [num_scales], one for all columns or one for each
  int64_t num_scales;
  WeightFormat format;
};

// Rows of activations rounded to what a packed weight is multiplied with.
struct RoundedRows {
  char* elements;    // the blocks of rows, one after the other
  float* scales;     // int8: [num_groups][rows of the block] for each block, one after the other
  int32_t* offsets;  // int8: the same; -128 * the sum of a row's group, which takes the weights' offset back
  int64_t num_rows;
  int64_t depth;
  WeightFormat format;  // of the weight
};

struct PackedLinearArgs {
  float* output;  // [num_rows, num_columns]
  const char* packed;
  RoundedRows input;
  int64_t output_stride;
  int64_t num_columns;
  Epilogue epilogue;
};

// Rows that packed_linear() takes at once, so that its memory is bounded.
inline constexpr int64_t kMaxPackedRows = 768;
// Panels that packed_linear() reads side by side at most.
inline constexpr int64_t kMaxPanelsAtOnce = 2;
// What round_rows() writes for one element at most; depth is rounded up to the packed layout's blocks.
inline constexpr int64_t kMaxRoundedBytes = 4;
// What packed_linear() needs for each thread: sums of all rows with the panels it is at, and expanded fp8.
inline constexpr int64_t kPackedSumsBytes = kMaxPackedRows * 2 * 64;
inline constexpr int64_t kPackedExpandedBytes = 128 * 1024;
inline constexpr int64_t kPackedScratchBytes = kPackedSumsBytes + kPackedExpandedBytes;

struct RotaryArgs {
  float* query;              // [num_tokens, num_heads, head_dim]
  const float* key;          // [num_tokens, num_kv_heads, head_dim]
  const float* value;        // [num_tokens, num_kv_heads, head_dim]
  const int32_t* positions;  // [num_tokens]
  const int32_t* slots;      // [num_tokens]
  const float* cosines;      // [max_positions, half]
  const float* sines;        // [max_positions, half]
  void* cached_keys;         // [num_slots, num_kv_heads, head_dim] of cache_type
  void* cached_values;       // [num_slots, num_kv_heads, head_dim] of cache_type
  DType cache_type;          // fp32 or bf16
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t half;  // rotary_dim / 2
};

struct AttentionArgs {
  float* output;       // [num_tokens, num_heads, head_dim]
  const float* query;  // [num_tokens, num_heads, head_dim]
  const void* keys;    // [num_blocks, block_size, num_kv_heads, head_dim], of the kernel's type
  const void* values;  // [num_blocks, block_size, num_kv_heads, head_dim]
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t block_size;
  float scale;  // 1 / sqrt(head_dim)
};

// Neighbouring rows of one chunk and query heads of one KV head: what shares its keys and values. At most
// kMaxTileQueries queries (rows x heads).
struct AttentionTile {
  int64_t first_row;
  int64_t num_rows;
  int64_t start_position;  // of first_row
  int64_t first_head;
  int64_t num_heads;
  const int32_t* block_table;  // of the tile's sequence
};

inline constexpr int64_t kMaxTileQueries = 32;
// What paged_attention() needs for each thread and each dimension of a head, rounded up to kLanes: sums of
// all queries and, with a bf16 cache, queries, keys and values of a block as packed_simd.h reads them.
inline constexpr int64_t kAttentionScratchBytes = kMaxTileQueries * 14 + 8;

struct CpuKernels {
  const char* name;
  void (*embedding)(const EmbeddingArgs& args, int64_t first_row, int64_t last_row);
  void (*layer_norm)(const LayerNormArgs& args, int64_t first_row, int64_t last_row);
  void (*linear)(const LinearArgs& args, int64_t first_column, int64_t last_column);
  void (*pack)(const PackArgs& args, int64_t first_panel, int64_t last_panel);
  // The blocks into which at most kMaxPackedRows rows are divided.
  int64_t (*count_row_blocks)(WeightFormat format, int64_t num_rows);
  void (*round_rows)(const float* input, int64_t input_stride, const RoundedRows& rows, int64_t first_block,
                     int64_t last_block);
  // scratch: [kPackedScratchBytes], aligned to 64.
  void (*packed_linear)(const PackedLinearArgs& args, int64_t first_panel, int64_t last_panel, char* scratch);
  void (*add)(float* output, const float* input, int64_t num_elements);
  void (*rotary_and_kv_write)(const RotaryArgs& args, int64_t first_row, int64_t last_row);
  // With a cache in fp32, and in bf16. scratch: [head_dim rounded up to kLanes, kAttentionScratchBytes],
  // aligned to 64.
  void (*paged_attention)(const AttentionArgs& args, const AttentionTile* tiles, int64_t num_tiles,
                          char* scratch);
  void (*paged_attention_bf16)(const AttentionArgs& args, const AttentionTile* tiles, int64_t num_tiles,
                               char* scratch);
};

extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;
extern const CpuKernels kAvx512Bf16Kernels;

}  // namespace octet::kernels
