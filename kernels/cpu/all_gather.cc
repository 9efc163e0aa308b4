// The ranks' columns side by side, for the vocabulary-parallel logits.
//
//   output[t, r * num_columns + n] = rank r's input[t, n]   on every rank
//
// Shapes     output [num_tokens, num_ranks * num_columns] fp32, input [num_tokens, num_columns] fp32.
// Requires   every rank calls it in the same order with the same shape.
// Mapping    every rank shows its input, they meet, every rank copies all, they meet before an input changes.
// Precision  exact.
// Cost       8 * num_tokens * num_ranks * num_columns bytes a rank and two barriers; memory bound.
// Checked by tests/kernels/all_gather_test.cc.
#include <cstring>

#include "kernels/cpu/communicator.h"

namespace octet::kernels {

void Communicator::all_gather_columns(int rank, Tensor output, Tensor input) {
  const int side = next_side(rank);
  Offer& own = offer(rank, side);
  own.data = input.data<float>();
  own.num_elements = input.num_elements();
  own.row_stride = input.row_stride();
  barrier_.arrive_and_wait();
  check_same_size(side);
  const int64_t num_columns = input.size(1);
  for (int64_t t = 0; t < input.size(0); ++t) {
    float* const row = output.data<float>() + t * output.row_stride();
    for (int r = 0; r < num_ranks(); ++r) {
      const Offer& other = offer(r, side);
      std::memcpy(row + r * num_columns, other.data + t * other.row_stride,
                  static_cast<size_t>(num_columns) * sizeof(float));
    }
  }
  barrier_.arrive_and_wait();
}

}  // namespace octet::kernels
