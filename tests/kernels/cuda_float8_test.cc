// fp8 products of the CUDA backend: activations and weights rounded as it says, and the oracle's product of
// them.
#include <cmath>

#include "kernels/cuda/cuda_backend.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/kernels/op_test.h"
#include "tests/kernels/uploading_backend.h"

namespace octet::kernels {
namespace {

constexpr float kLargest = 448;

// The value of a code of E4M3, by its definition.
double value_of(int code) {
  const int exponent = code >> 3 & 15;
  const int mantissa = code & 7;
  const double magnitude = exponent == 0 ? mantissa * 0x1p-9 : std::ldexp(1 + mantissa / 8.0, exponent - 7);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}
// The nearest value of E4M3, of two equally near ones that of the even code.
double nearest(double x) {
  int best = 0;
  for (int code = 0; code < 0x7f; ++code) {
    const double distance = std::abs(value_of(code) - std::abs(x));
    const double least = std::abs(value_of(best) - std::abs(x));
    if (distance < least || (distance == least && code % 2 == 0)) best = code;
  }
  return x < 0 ? -value_of(best) : value_of(best);
}

// Values of a row or column as fp8 with a scale that makes the largest 448.
std::vector<double> quantised(const std::vector<float>& values) {
  float largest = 0;
  for (const float x : values) largest = std::max(largest, std::abs(x));
  const float scale = largest / kLargest;
  std::vector<double> rounded;
  for (const float x : values) {
    rounded.push_back(scale == 0 ? 0 : nearest(static_cast<double>(x / scale)) * static_cast<double>(scale));
  }
  return rounded;
}

class CudaFloat8Test : public ::testing::Test {
 protected:
  static std::unique_ptr<Backend> rank(int capability, Determinism determinism = Determinism::kFast) {
    cuda_emulator::reset(1);
    cuda_emulator::set_compute_capability(capability);
    return make_uploading_backend(std::move(make_cuda_ranks({0}, {.determinism = determinism}).front()));
  }
  static std::vector<float> multiply(Backend& rank, Tensor weight, Tensor scales, std::vector<float> input,
                                     int64_t rows, Epilogue epilogue = Epilogue::kNone) {
    const PackedWeight packed = rank.pack(WeightFormat::kFloat8, weight, scales).value();
    std::vector<float> output(static_cast<size_t>(rows * weight.size(0)), NAN);
    rank.linear(matrix(output, rows, weight.size(0)), matrix(input, rows, weight.size(1)), packed, epilogue);
    EXPECT_EQ(cuda_emulator::first_fault(), "");
    return output;
  }

  Random random_{20240614};
};

TEST_F(CudaFloat8Test, RoundsRowsAndColumnsAndMultipliesExactly) {
  constexpr int64_t kRows = 5, kColumns = 32, kDepth = 48;
  for (const DType type : {DType::kBFloat16, DType::kFloat32}) {
    Weight weight(type, kColumns, kDepth, 3, random_, -0.2f, 0.3f);
    std::vector<float> input = random_.vector(kRows * kDepth, -2, 5);
    for (int64_t k = 0; k < kDepth; ++k) input[static_cast<size_t>(2 * kDepth + k)] = 0;  // a row of zeros
    for (const Epilogue epilogue : {Epilogue::kNone, Epilogue::kSquaredRelu}) {
      const std::vector<float> output = multiply(*rank(90), weight.matrix(), {}, input, kRows, epilogue);
      for (int64_t n = 0; n < kColumns; ++n) {
        std::vector<float> column;
        for (int64_t k = 0; k < kDepth; ++k) column.push_back(static_cast<float>(weight.at(n, k)));
        const std::vector<double> w = quantised(column);
        for (int64_t t = 0; t < kRows; ++t) {
          const std::vector<double> x = quantised(rows_of(input, kDepth, t, 1));
          double expected = 0;
          for (size_t k = 0; k < w.size(); ++k) expected += x[k] * w[k];
          if (epilogue == Epilogue::kSquaredRelu) expected = expected > 0 ? expected * expected : 0;
          ASSERT_NEAR(output[static_cast<size_t>(t * kColumns + n)], expected,
                      2e-5 * (1 + std::abs(expected)))
              << t << ", " << n;
        }
      }
    }
  }
}

TEST_F(CudaFloat8Test, TakesTheCodesOfAnFp8Weight) {
  std::vector<uint8_t> codes;
  for (int code = 0; code < 256; ++code)
    codes.push_back((code & 0x7f) == 0x7f ? uint8_t{0} : static_cast<uint8_t>(code));
  std::vector<float> scales(16, 0.5f);
  scales[3] = 2;
  const Tensor weight(codes.data(), DType::kFloat8E4M3, {16, 16});
  for (int64_t k = 0; k < 16; ++k) {
    std::vector<float> input(16, 0);
    input[static_cast<size_t>(k)] = 3;  // 448 times its scale
    const std::vector<float> output =
        multiply(*rank(90), weight, Tensor(scales.data(), DType::kFloat32, {16}), input, 1);
    for (size_t n = 0; n < 16; ++n) {
      const double expected =
          3 * value_of(codes[16 * n + static_cast<size_t>(k)]) * static_cast<double>(scales[n]);
      EXPECT_NEAR(output[n], expected, 1e-5 * std::abs(expected)) << n << ", " << k;
    }
  }
}

TEST_F(CudaFloat8Test, TakesHalfTheMemoryWhereTheDeviceMultipliesFp8) {
  std::vector<float> values = random_.vector(64 * 128);
  const Tensor weight = matrix(values, 64, 128);
  EXPECT_EQ(rank(90)->pack(WeightFormat::kFloat8, weight)->num_bytes, 64 * 128 + 64 * 4);
  EXPECT_EQ(rank(80)->pack(WeightFormat::kFloat8, weight)->num_bytes, 64 * 128 * 2 + 64 * 4);
}

TEST_F(CudaFloat8Test, MultipliesAsBfloat16WhereFp8DoesNotFit) {
  constexpr int64_t kColumns = 10, kDepth = 16;  // ten are no multiple of sixteen
  std::vector<float> values = random_.vector(kColumns * kDepth);
  std::vector<float> input = random_.vector(kDepth);
  EXPECT_TRUE(same_bits(multiply(*rank(90), matrix(values, kColumns, kDepth), {}, input, 1),
                        multiply(*rank(80), matrix(values, kColumns, kDepth), {}, input, 1)));
}

TEST_F(CudaFloat8Test, KeepsNotANumberVisible) {
  std::vector<float> values = random_.vector(16 * 16), input = random_.vector(2 * 16);
  input[5] = NAN;
  const std::vector<float> output = multiply(*rank(90), matrix(values, 16, 16), {}, input, 2);
  for (size_t n = 0; n < 16; ++n) {
    EXPECT_TRUE(std::isnan(output[n]));
    EXPECT_TRUE(std::isfinite(output[16 + n]));
  }
  values[16] = NAN;
  const std::vector<float> other = multiply(*rank(90), matrix(values, 16, 16), {}, random_.vector(16), 1);
  EXPECT_TRUE(std::isnan(other[1]));
  EXPECT_TRUE(std::isfinite(other[0]));
}

TEST_F(CudaFloat8Test, KeepsRowsApartWhereItIsDeterministic) {
  const auto deterministic = rank(90, Determinism::kDeterministic);
  std::vector<float> values = random_.vector(32 * 96), input = random_.vector(70 * 96);
  const std::vector<float> whole = multiply(*deterministic, matrix(values, 32, 96), {}, input, 70);
  for (const int64_t t : {0, 63, 64, 69}) {
    EXPECT_TRUE(same_bits(rows_of(whole, 32, t, 1),
                          multiply(*deterministic, matrix(values, 32, 96), {}, rows_of(input, 96, t, 1), 1)));
  }
}

}  // namespace
}  // namespace octet::kernels
