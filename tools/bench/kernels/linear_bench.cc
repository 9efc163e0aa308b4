// linear(): in place and packed, at the rows of decoding (1, 4, 16) and of prefill (64, 512).
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "tools/bench/kernels/op_benchmarks.h"

namespace octet::bench {
namespace {

using kernels::DType;
using kernels::Epilogue;
using kernels::PackedWeight;
using kernels::Tensor;
using kernels::WeightFormat;

constexpr int64_t kRows[] = {1, 4, 16, 64, 512};
// Copies of a matrix are read in turn, as a model's layers are, up to so many bytes: far more than caches
// hold.
constexpr int64_t kStreamedBytes = int64_t{256} << 20;

struct LinearFormat {
  const char* name;
  DType stored;                        // in place, or what is packed
  std::optional<WeightFormat> packed;  // nothing: in place
  double bytes_per_weight;             // about; a packed weight tells its own size
  Unit unit;
};

constexpr LinearFormat kFormats[] = {
    {"in_place_fp32", DType::kFloat32, std::nullopt, 4, Unit::kFma},
    {"in_place_bf16", DType::kBFloat16, std::nullopt, 2, Unit::kFma},
    {"packed_bf16", DType::kBFloat16, WeightFormat::kBFloat16, 2, Unit::kBf16},
    {"packed_int8", DType::kBFloat16, WeightFormat::kInt8, 1.0625, Unit::kInt8},
    {"packed_fp8", DType::kBFloat16, WeightFormat::kFloat8, 1, Unit::kBf16},
};

// The copies of one matrix in one format. Made when the first benchmark of it runs, and kept for those that
// follow; those of another matrix take its place.
struct Weights {
  std::string key;
  std::vector<OwnedTensor> in_place;
  std::vector<PackedWeight> packed;

  size_t size() const { return std::max(in_place.size(), packed.size()); }
};

Weights& current_weights() {
  static Weights weights;
  return weights;
}

int64_t num_copies(const ModelShape& shape, const MatrixShape& matrix, const LinearFormat& format) {
  const double bytes = static_cast<double>(matrix.num_columns * matrix.depth) * format.bytes_per_weight;
  const auto wanted = static_cast<int64_t>(static_cast<double>(kStreamedBytes) / bytes) + 1;
  return matrix.name == "lm_head" ? 1 : std::min(wanted, shape.num_layers);
}

// Whether the weights are there; else the benchmark is skipped and says why.
bool make_weights(benchmark::State& state, const BenchContext& context, const ModelShape& shape,
                  const MatrixShape& matrix, const LinearFormat& format) {
  Weights& weights = current_weights();
  const std::string key = shape.name + "/" + matrix.name + "/" + format.name;
  if (weights.key == key && weights.size() > 0) return true;
  weights = {};
  const int64_t copies = num_copies(shape, matrix, format);
  const int64_t stored = matrix.num_columns * matrix.depth * size_of(format.stored);
  const double packed = static_cast<double>(matrix.num_columns * matrix.depth) * format.bytes_per_weight;
  const auto needed = format.packed ? stored + static_cast<int64_t>(packed) * copies : stored * copies;
  if (!has_memory(state, needed)) return false;
  OwnedTensor source;
  for (int64_t i = 0; i < copies; ++i) {
    if (!format.packed || i == 0) {
      source = random_matrix(*context.backend, format.stored, matrix.num_columns, matrix.depth);
      if (source.storage == nullptr) break;
    }
    if (!format.packed) {
      weights.in_place.push_back(source);
    } else if (auto made = context.backend->pack(*format.packed, source.tensor)) {
      weights.packed.push_back(*std::move(made));
    }
  }
  if (std::cmp_not_equal(weights.size(), copies)) {
    weights = {};
    state.SkipWithError("there is not enough memory");
    return false;
  }
  weights.key = key;
  return true;
}

void run_linear(benchmark::State& state, const BenchContext& context, const ModelShape& shape,
                const MatrixShape& matrix, const LinearFormat& format, int64_t num_rows) {
  if (!make_weights(state, context, shape, matrix, format)) return;
  const Weights& weights = current_weights();
  kernels::Backend& backend = *context.backend;
  const OwnedTensor input = random_matrix(backend, DType::kFloat32, num_rows, matrix.depth);
  const OwnedTensor output = random_matrix(backend, DType::kFloat32, num_rows, matrix.num_columns);
  const Epilogue epilogue = matrix.name == "up" ? Epilogue::kSquaredRelu : Epilogue::kNone;
  const auto multiply = [&](size_t copy) {
    if (format.packed) {
      backend.linear(output.tensor, input.tensor, weights.packed[copy], epilogue);
    } else {
      backend.linear(output.tensor, input.tensor, weights.in_place[copy].tensor, epilogue);
    }
  };
  multiply(0);  // grows scratch memory
  size_t next = 0;
  const Time began = now();
  for (auto _ : state) {
    multiply(next);
    next = next + 1 == weights.size() ? 0 : next + 1;
  }
  const auto num_weights = static_cast<double>(matrix.num_columns * matrix.depth);
  const double weight_bytes = format.packed ? static_cast<double>(weights.packed.front().num_bytes)
                                            : num_weights * format.bytes_per_weight;
  const auto activations = static_cast<double>(4 * num_rows * (matrix.num_columns + matrix.depth));
  report(state, context,
         {weight_bytes + activations, 2 * num_weights * static_cast<double>(num_rows), format.unit}, began);
}

}  // namespace

void add_linear_benchmarks(const BenchContext& context, const ModelShape& shape) {
  for (const MatrixShape& matrix : matrices_of(shape)) {
    for (const LinearFormat& format : kFormats) {
      for (const int64_t num_rows : kRows) {
        const std::string name =
            "linear/" + shape.name + "/" + matrix.name + "/" + format.name + "/" + std::to_string(num_rows);
        add_benchmark(name, [&context, shape, matrix, &format, num_rows](benchmark::State& state) {
          run_linear(state, context, shape, matrix, format, num_rows);
        });
      }
    }
  }
}

}  // namespace octet::bench
