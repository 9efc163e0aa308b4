// Compiled once for each instruction set, which gives the table its name.
#include "kernels/cpu/op_kernels.h"

namespace octet::kernels {

extern const CpuKernels OCTET_KERNEL_TABLE = {
    .name = OCTET_ISA_NAME,
    .embedding = OCTET_ISA::embedding,
    .layer_norm = OCTET_ISA::layer_norm,
    .linear = OCTET_ISA::linear,
    .pack = OCTET_ISA::pack,
    .count_row_blocks = OCTET_ISA::count_row_blocks,
    .round_rows = OCTET_ISA::round_rows,
    .packed_linear = OCTET_ISA::packed_linear,
    .add = OCTET_ISA::add,
    .rotary_and_kv_write = OCTET_ISA::rotary_and_kv_write,
    .paged_attention = OCTET_ISA::paged_attention,
    .paged_attention_bf16 = OCTET_ISA::paged_attention_bf16,
};

}  // namespace octet::kernels
