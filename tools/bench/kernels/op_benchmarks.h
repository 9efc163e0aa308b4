// Registers the benchmarks of each op at a model's shape. The context outlives them.
#pragma once

#include "tools/bench/kernels/bench_context.h"
#include "tools/bench/kernels/model_shapes.h"

namespace octet::bench {

void add_linear_benchmarks(const BenchContext& context, const ModelShape& shape);
void add_row_benchmarks(const BenchContext& context, const ModelShape& shape);  // norms, embedding, rotary
void add_attention_benchmarks(const BenchContext& context, const ModelShape& shape);
void add_collective_benchmarks(const BenchContext& context, const ModelShape& shape);

}  // namespace octet::bench
