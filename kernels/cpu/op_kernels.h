// The kernels of the instruction set that this file is compiled for; see cpu_kernels.h.
#pragma once

#include "kernels/cpu/cpu_kernels.h"

namespace octet::kernels::OCTET_ISA {

void embedding(const EmbeddingArgs& args, int64_t first_row, int64_t last_row);
void layer_norm(const LayerNormArgs& args, int64_t first_row, int64_t last_row);
void linear(const LinearArgs& args, int64_t first_column, int64_t last_column);
void pack(const PackArgs& args, int64_t first_panel, int64_t last_panel);
int64_t count_row_blocks(WeightFormat format, int64_t num_rows);
void round_rows(const float* input, int64_t input_stride, const RoundedRows& rows, int64_t first_block,
                int64_t last_block);
void packed_linear(const PackedLinearArgs& args, int64_t first_panel, int64_t last_panel, char* scratch);
void add(float* output, const float* input, int64_t num_elements);
void rotary_and_kv_write(const RotaryArgs& args, int64_t first_row, int64_t last_row);
void paged_attention(const AttentionArgs& args, const AttentionTile* tiles, int64_t num_tiles, char* scratch);
void paged_attention_bf16(const AttentionArgs& args, const AttentionTile* tiles, int64_t num_tiles,
                          char* scratch);

}  // namespace octet::kernels::OCTET_ISA
