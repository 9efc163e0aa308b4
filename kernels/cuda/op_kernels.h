// The ops on the device: each puts its kernel on the queue. Pointers are device memory, shapes and meanings
// as in kernels/backend.h; strides are in elements. The types that an op takes are in its comment.
#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace octet::kernels::cuda {

class Queue;  // launch.h

// table: bf16 or fp32.
void embedding(Queue& queue, Tensor output, const int32_t* tokens, Tensor table, int32_t first_token);

// residual[t, i] += input[t, i] first, where input is not empty; weight and bias: bf16 or fp32.
void layer_norm(Queue& queue, Tensor output, Tensor residual, Tensor input, Tensor weight, Tensor bias,
                float epsilon);

void add(Queue& queue, Tensor output, Tensor input);

void gather_rows(Queue& queue, Tensor output, Tensor input, const int32_t* rows);

// weight: bf16 or fp32, as it is.
void linear(Queue& queue, Tensor output, Tensor input, Tensor weight, Epilogue epilogue);

// output: [num_tokens, depth] bf16
void round_rows(Queue& queue, void* output, Tensor input);

// output: [num_tokens, depth] fp8; scales: [num_tokens]
void quantise_rows(Queue& queue, void* output, float* scales, Tensor input);

// row_scales: [num_tokens] or nullptr; scales: [num_columns] or nullptr
void finish_product(Queue& queue, Tensor output, const float* row_scales, const float* scales,
                    Epilogue epilogue);

// The cache: bf16 or fp32.
void rotary_and_kv_write(Queue& queue, Tensor query, Tensor key, Tensor value, const int32_t* positions,
                         const int32_t* slots, const RotaryTable& table, const KvLayer& kv);

// gathered: [num_ranks] parts, rank_stride elements apart, of rows that are row_stride apart.
void gather_columns(Queue& queue, Tensor output, const float* gathered, int64_t rank_stride,
                    int64_t row_stride, int64_t num_ranks);

// output: [count]; gathered: [num_ranks, count]
void sum_ranks(Queue& queue, float* output, const float* gathered, int64_t count, int64_t num_ranks);

// A SamplePlan on the device, sample_plan.h.
struct PlannedRow;
struct RowResult;
struct SampleTables {
  const PlannedRow* rows;  // [num_rows]
  const LogitEdit* edits;  // of all rows
  const uint32_t* masks;   // of all rows
  float* saved;            // [num_edits], room
  RowResult* results;      // [num_rows]
};
void sample(Queue& queue, Tensor logits, const SampleTables& tables);

// Where the rows of a batch find their keys.
struct RowTables {
  const int32_t* positions;  // [num_tokens]
  const int32_t* offsets;    // [num_tokens] of the row's block table in blocks
  const int32_t* blocks;     // the block tables of all chunks, one after the other
};
constexpr int64_t kMaxHeadDim = 256;
// The cache: bf16 or fp32.
void paged_attention(Queue& queue, Tensor output, Tensor query, const KvLayer& kv, const RowTables& rows);

// An AttentionPlan on the device, attention_plan.h.
struct AttentionItem;
struct AttentionMerge;
struct AttentionTables {
  const AttentionItem* narrow;
  size_t num_narrow;
  const AttentionItem* wide;
  size_t num_wide;
  const AttentionMerge* merges;
  size_t num_merges;
  const int32_t* blocks;  // the block tables of all chunks, one after the other
  float* partials;        // of attention_partial_bytes(), or nullptr for none
};
// Whether tensor cores have kernels for the cache's type and head_dim.
bool has_mma_attention(const KvLayer& kv);
int64_t attention_partial_bytes(const KvLayer& kv, int32_t num_partials);
void paged_attention_mma(Queue& queue, Tensor output, Tensor query, const KvLayer& kv,
                         const AttentionTables& tables);

}  // namespace octet::kernels::cuda
