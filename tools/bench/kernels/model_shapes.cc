#include "tools/bench/kernels/model_shapes.h"

namespace octet::bench {

std::vector<ModelShape> model_shapes() {
  return {
      {"nano", 128, 512, 16, 8, 16, 1600, 8},          {"1b", 2048, 8192, 16, 4, 128, 32000, 16},
      {"mini-4b", 3072, 9216, 24, 8, 128, 256000, 32}, {"15b", 6144, 24576, 48, 8, 128, 256000, 32},
      {"340b", 18432, 73728, 96, 8, 192, 0, 1},        {"340b-tp8", 18432, 9216, 12, 1, 192, 0, 1},
  };
}

std::vector<MatrixShape> matrices_of(const ModelShape& shape) {
  const int64_t query = shape.num_heads * shape.head_dim;
  std::vector<MatrixShape> matrices = {
      {"query", query, shape.hidden_size},
      {"key", shape.num_kv_heads * shape.head_dim, shape.hidden_size},
      {"output", shape.hidden_size, query},
      {"up", shape.intermediate_size, shape.hidden_size},
      {"down", shape.hidden_size, shape.intermediate_size},
  };
  if (shape.vocab_size > 0) matrices.push_back({"lm_head", shape.vocab_size, shape.hidden_size});
  return matrices;
}

}  // namespace octet::bench
