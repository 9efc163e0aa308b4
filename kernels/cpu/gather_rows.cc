// Copies chosen rows together: the rows whose logits a step needs.
//
//   output[i, :] = input[rows[i], :]
//
// Shapes     output [num_rows, hidden] fp32, input [num_tokens, hidden] fp32.
// Requires   rows[i] < num_tokens (Backend::gather_rows checks it).
// Mapping    the calling thread copies all: at most a few rows for each sequence.
// Precision  exact.
// Cost       8 * num_rows * hidden bytes; memory bound.
// Checked by tests/kernels/gather_rows_test.cc.
#include <cstring>

#include "kernels/cpu/cpu_backend_impl.h"

namespace octet::kernels {

void CpuBackend::do_gather_rows(Tensor output, Tensor input, std::span<const int32_t> rows) {
  const size_t row_bytes = static_cast<size_t>(input.size(1)) * sizeof(float);
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(output.data<float>() + static_cast<int64_t>(i) * output.row_stride(),
                input.data<float>() + rows[i] * input.row_stride(), row_bytes);
  }
}

}  // namespace octet::kernels
