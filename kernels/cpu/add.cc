// Element-wise sum, for the residual stream and for the ranks' sum in all_reduce.
//
//   output[i] += input[i]
//
// Shapes     output, input [num_elements] fp32, packed.
// Mapping    a thread takes a contiguous part of the rows.
// Precision  one fp32 addition an element.
// Cost       12 * num_elements bytes; memory bound where that is more than the cache.
// Checked by tests/kernels/add_test.cc, tests/kernels/all_reduce_test.cc.
#include "kernels/cpu/op_kernels.h"
#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {

void add(float* output, const float* input, int64_t num_elements) {
  int64_t i = 0;
  for (; i + kLanes <= num_elements; i += kLanes) store(output + i, load(output + i) + load(input + i));
  if (i < num_elements) {
    const int64_t rest = num_elements - i;
    store_first(output + i, load_first(output + i, rest) + load_first(input + i, rest), rest);
  }
}

}  // namespace octet::kernels::OCTET_ISA
