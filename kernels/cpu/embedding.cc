// Rows of the vocabulary-parallel embedding table; a rank gives zeros for the tokens of other ranks.
//
//   output[t, :] = table[tokens[t] - first_token, :] if that row exists, else 0
//
// Shapes     output [num_tokens, hidden] fp32, table [num_rows, hidden] bf16 or fp32; rows may be strided.
// Mapping    a thread takes a contiguous part of the tokens.
// Precision  exact: bf16 widens to fp32.
// Cost       num_tokens * hidden * (4 + size of a table element) bytes; memory bound.
// Checked by tests/kernels/embedding_test.cc.
#include "kernels/cpu/op_kernels.h"
#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

template <typename Weight>
void copy_row(float* output, const Weight* row, int64_t hidden) {
  int64_t i = 0;
  for (; i + kLanes <= hidden; i += kLanes) store(output + i, load(row + i));
  if (i < hidden) store_first(output + i, load_first(row + i, hidden - i), hidden - i);
}

template <typename Weight>
void embed(const EmbeddingArgs& args, int64_t first_row, int64_t last_row) {
  const Weight* const table = static_cast<const Weight*>(args.table);
  for (int64_t t = first_row; t < last_row; ++t) {
    float* const output = args.output + t * args.output_stride;
    const int64_t row = int64_t{args.tokens[t]} - args.first_token;
    if (row >= 0 && row < args.num_table_rows) {
      copy_row(output, table + row * args.table_stride, args.hidden);
    } else {
      __builtin_memset(output, 0, static_cast<size_t>(args.hidden) * sizeof(float));
    }
  }
}

}  // namespace

void embedding(const EmbeddingArgs& args, int64_t first_row, int64_t last_row) {
  if (args.table_type == DType::kBFloat16) {
    embed<BFloat16>(args, first_row, last_row);
  } else {
    embed<float>(args, first_row, last_row);
  }
}

}  // namespace octet::kernels::OCTET_ISA
