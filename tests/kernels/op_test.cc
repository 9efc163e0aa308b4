#include "tests/kernels/op_test.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iostream>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

#include "tests/kernels/kv_storage.h"

#if defined(OCTET_CUDA) || defined(OCTET_CUDA_EMULATED)
#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/uploading_backend.h"
#endif
#ifdef OCTET_CUDA_EMULATED
#include "tests/cuda_emulator/emulator.h"
#endif

namespace octet::kernels {
std::vector<BackendCase> cpu_cases() {
  std::vector<BackendCase> cases;
  for (const auto& [isa, isa_name] : {std::pair(CpuIsa::kAvx2, "Avx2"), std::pair(CpuIsa::kAvx512, "Avx512"),
                                      std::pair(CpuIsa::kAvx512Bf16, "Avx512Bf16")}) {
    for (const int num_threads : {1, 3}) {
      CpuOptions options;
      options.threads_per_rank = num_threads;
      options.isa = isa;
      if (const auto problem = find_problem(options)) {
        static std::set<std::string> told;
        if (told.insert(isa_name).second)
          std::cout << "[ NOT RUN  ] " << isa_name << ": " << *problem << "\n";
        continue;
      }
      cases.push_back({std::string(isa_name) + "Threads" + std::to_string(num_threads),
                       [options] { return std::move(make_cpu_ranks(options).front()); }, false});
    }
  }
  return cases;
}

std::vector<BackendCase> backend_cases() {
  std::vector<BackendCase> cases = cpu_cases();
#ifdef OCTET_CUDA_EMULATED
  cases.push_back({"CudaEmulated",
                   [] {
                     cuda_emulator::reset();
                     return make_uploading_backend(std::move(make_cuda_ranks({0}).front()));
                   },
                   true});
#endif
#ifdef OCTET_CUDA
  if (const auto problem = find_cuda_problem(0)) {
    static bool told = false;
    if (!std::exchange(told, true)) std::cout << "[ NOT RUN  ] Cuda: " << *problem << "\n";
  } else {
    cases.push_back(
        {"Cuda", [] { return make_uploading_backend(std::move(make_cuda_ranks({0}).front())); }, false});
  }
#endif
  return cases;
}

std::vector<RanksOf> ranks_of_backends() {
#ifdef OCTET_CUDA_EMULATED
  return {RanksOf::kCpu, RanksOf::kCudaEmulated};
#else
  return {RanksOf::kCpu};
#endif
}

Ranks make_ranks(RanksOf backend, int num_ranks) {
  if (backend == RanksOf::kCpu) {
    return make_cpu_ranks({.num_ranks = num_ranks, .threads_per_rank = 1, .isa = CpuIsa::kBest});
  }
  Ranks ranks;
#ifdef OCTET_CUDA_EMULATED
  cuda_emulator::reset(num_ranks);
  std::vector<int> devices(static_cast<size_t>(num_ranks));
  std::iota(devices.begin(), devices.end(), 0);
  for (std::unique_ptr<Backend>& rank :
       make_cuda_ranks(devices, {.determinism = Determinism::kDeterministic})) {
    ranks.push_back(make_uploading_backend(std::move(rank)));
  }
#endif
  return ranks;
}

std::unique_ptr<Backend> make_backend(const BackendCase& backend_case) {
  return backend_case.make();
}

float Random::uniform(float low, float high) {
  return low + (high - low) * static_cast<float>(engine_() >> 8) * 0x1p-24f;
}

int32_t Random::integer(int32_t low, int32_t high) {
  return low + static_cast<int32_t>(engine_() % static_cast<uint32_t>(high - low + 1));
}

std::vector<float> Random::vector(int64_t size, float low, float high) {
  std::vector<float> values(static_cast<size_t>(size));
  for (float& value : values) value = uniform(low, high);
  return values;
}

std::vector<int32_t> Random::permutation(int32_t size) {
  std::vector<int32_t> values(static_cast<size_t>(size));
  std::iota(values.begin(), values.end(), 0);
  for (int32_t i = size - 1; i > 0; --i) {
    std::swap(values[static_cast<size_t>(i)], values[static_cast<size_t>(integer(0, i))]);
  }
  return values;
}

Weight::Weight(DType dtype, int64_t rows, int64_t columns, int64_t row_gap, Random& random, float low,
               float high)
    : dtype_(dtype), rows_(rows), columns_(columns), row_stride_(columns + row_gap) {
  constexpr size_t kMisalignment = 2;
  const size_t element = static_cast<size_t>(size_of(dtype));
  storage_.resize(kMisalignment + static_cast<size_t>(rows * row_stride_) * element);
  char* out = storage_.data() + kMisalignment;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < row_stride_; ++c, out += element) {
      const float value = c < columns ? random.uniform(low, high) : std::numeric_limits<float>::quiet_NaN();
      const uint16_t rounded = to_bfloat16(value);
      if (dtype == DType::kBFloat16) {
        std::memcpy(out, &rounded, element);
      } else {
        std::memcpy(out, &value, element);
      }
      if (c < columns) values_.push_back(static_cast<double>(rounded_to(dtype, value)));
    }
  }
}

Tensor Weight::matrix() {
  return Tensor::matrix(storage_.data() + 2, dtype_, rows_, columns_, row_stride_);
}

Tensor Weight::vector() {
  return Tensor(storage_.data() + 2, dtype_, {columns_});
}

Tensor matrix(std::vector<float>& values, int64_t rows, int64_t columns) {
  return Tensor(values.data(), DType::kFloat32, {rows, columns});
}

Tensor heads(std::vector<float>& values, int64_t num_tokens, int64_t num_heads, int64_t head_dim) {
  return Tensor(values.data(), DType::kFloat32, {num_tokens, num_heads, head_dim});
}

::testing::AssertionResult same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size())
    return ::testing::AssertionFailure() << a.size() << " and " << b.size() << " values";
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i])) {
      return ::testing::AssertionFailure()
             << "element " << i << ": " << a[i] << " and " << b[i] << ", " << std::bit_cast<uint32_t>(a[i])
             << " and " << std::bit_cast<uint32_t>(b[i]) << " as bits";
    }
  }
  return ::testing::AssertionSuccess();
}

std::vector<float> rows_of(const std::vector<float>& values, int64_t columns, int64_t first, int64_t count) {
  return {values.begin() + first * columns, values.begin() + (first + count) * columns};
}

std::string case_name(const ::testing::TestParamInfo<BackendAndType>& info) {
  return std::get<0>(info.param).name +
         (std::get<1>(info.param) == DType::kBFloat16 ? "BFloat16" : "Float32");
}

std::string backend_name(const ::testing::TestParamInfo<BackendCase>& info) {
  return info.param.name;
}

}  // namespace octet::kernels
