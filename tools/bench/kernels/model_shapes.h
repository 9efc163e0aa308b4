// The sizes of the models that kernels are measured at, as one tensor-parallel rank sees them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace octet::bench {

struct ModelShape {
  std::string name;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;  // of this rank
  int64_t num_heads = 0;          // of this rank
  int64_t num_kv_heads = 0;       // of this rank
  int64_t head_dim = 0;
  int64_t vocab_size = 0;  // of this rank; 0: a layer alone is measured
  int64_t num_layers = 0;  // how many matrices of one kind a step reads
};

// A matrix of the model: column n of the product is row n of it.
struct MatrixShape {
  std::string name;
  int64_t num_columns = 0;
  int64_t depth = 0;
};

// nano, 1b, mini-4b, 15b, 340b, 340b-tp8.
std::vector<ModelShape> model_shapes();

std::vector<MatrixShape> matrices_of(const ModelShape& shape);

}  // namespace octet::bench
