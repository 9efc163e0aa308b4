// What the tests of the ops share: the backends to run them on, tensors that a test owns, comparison.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"

namespace octet::kernels {

// A backend under test.
struct BackendCase {
  std::string name;
  std::function<std::unique_ptr<Backend>()> make;
  bool emulated = false;  // thousands of times slower than a real one
};

// The CPU backend with every instruction set that this machine can run, with one thread and with three; what
// it cannot run is printed. All give the same bits.
std::vector<BackendCase> cpu_cases();

// Those, and the CUDA backend: on the first device with the cuda preset, where there is one; else on an
// emulated one, but not in a build with sanitizers.
std::vector<BackendCase> backend_cases();

// All ranks of a stage, as one of these makes them; those on GPUs are deterministic.
using Ranks = std::vector<std::unique_ptr<Backend>>;
enum class RanksOf { kCpu, kCudaEmulated };
Ranks make_ranks(RanksOf backend, int num_ranks);
// Those that this build has.
std::vector<RanksOf> ranks_of_backends();

// A stage of one rank.
std::unique_ptr<Backend> make_backend(const BackendCase& backend_case);

// Numbers that are the same in every run.
class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  float uniform(float low, float high);
  int32_t integer(int32_t low, int32_t high);  // both included
  std::vector<float> vector(int64_t size, float low = -1.0f, float high = 1.0f);
  std::vector<int32_t> permutation(int32_t size);

 private:
  std::mt19937 engine_;
};

// A weight as a mapped checkpoint has it: bf16 or fp32, with a gap between rows, aligned to two bytes only.
class Weight {
 public:
  // Values within [low, high], rounded to dtype. A gap is filled with NaN, so that reading it is noticed.
  Weight(DType dtype, int64_t rows, int64_t columns, int64_t row_gap, Random& random, float low = -1.0f,
         float high = 1.0f);
  Tensor matrix();  // [rows, columns], row stride columns + row_gap
  Tensor vector();  // [columns], of the first row
  double at(int64_t row, int64_t column) const {
    return values_[static_cast<size_t>(row * columns_ + column)];
  }

 private:
  DType dtype_;
  int64_t rows_;
  int64_t columns_;
  int64_t row_stride_;
  std::vector<double> values_;  // [rows, columns]
  std::vector<char> storage_;
};

Tensor matrix(std::vector<float>& values, int64_t rows, int64_t columns);
Tensor heads(std::vector<float>& values, int64_t num_tokens, int64_t num_heads, int64_t head_dim);

// Whether two fp32 arrays have the same bits; tells the first difference.
::testing::AssertionResult same_bits(const std::vector<float>& a, const std::vector<float>& b);

// Rows [first, first + count) of a matrix of so many columns.
std::vector<float> rows_of(const std::vector<float>& values, int64_t columns, int64_t first, int64_t count);

// A test body that runs for each backend and each type of weight.
using BackendAndType = std::tuple<BackendCase, DType>;
std::string case_name(const ::testing::TestParamInfo<BackendAndType>& info);
inline auto all_backends_and_types() {
  return ::testing::Combine(::testing::ValuesIn(backend_cases()),
                            ::testing::Values(DType::kBFloat16, DType::kFloat32));
}

class OpTest : public ::testing::TestWithParam<BackendAndType> {
 protected:
  Backend& backend() { return *backend_; }
  DType weight_type() const { return std::get<1>(GetParam()); }
  Random& random() { return random_; }

 private:
  std::unique_ptr<Backend> backend_ = make_backend(std::get<0>(GetParam()));
  Random random_{20240614};
};

// A test body that runs for each backend.
std::string backend_name(const ::testing::TestParamInfo<BackendCase>& info);

class BackendTest : public ::testing::TestWithParam<BackendCase> {
 protected:
  Backend& backend() { return *backend_; }
  bool emulated() const { return GetParam().emulated; }
  Random& random() { return random_; }

 private:
  std::unique_ptr<Backend> backend_ = make_backend(GetParam());
  Random random_{20240614};
};

}  // namespace octet::kernels
