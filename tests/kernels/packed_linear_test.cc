#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "tests/kernels/op_test.h"
#include "tests/kernels/oracle.h"

namespace octet::kernels {
namespace {

constexpr WeightFormat kFormats[] = {WeightFormat::kBFloat16, WeightFormat::kInt8, WeightFormat::kFloat8};

float round_to_bfloat16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000);
}

// The value of an E4M3 code, from its definition: sign, four bits of exponent with bias 7, three of fraction.
double float8_value(int code) {
  if ((code & 0x7f) == 0x7f) return std::numeric_limits<double>::quiet_NaN();
  const int exponent = code >> 3 & 15;
  const double fraction = code & 7;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return code & 0x80 ? -magnitude : magnitude;
}

// The nearest E4M3 value, of two equally near ones that with an even code.
double nearest_float8(double x) {
  int best = 0;
  for (int code = 0; code < 256; ++code) {
    if ((code & 0x7f) == 0x7f) continue;
    const double distance = std::abs(float8_value(code) - x);
    const double best_distance = std::abs(float8_value(best) - x);
    if (distance < best_distance || (distance == best_distance && code % 2 == 0 && best % 2 != 0))
      best = code;
  }
  return float8_value(best);
}

// A row rounded in groups of 32 to 127 steps of its largest magnitude; the step is rounded up to bf16 for
// weights.
std::vector<double> round_to_int8(const std::vector<float>& row, bool is_weight) {
  std::vector<double> rounded;
  for (size_t first = 0; first < row.size(); first += 32) {
    const size_t end = std::min(row.size(), first + 32);
    float largest = 0;
    for (size_t i = first; i < end; ++i) largest = std::max(largest, std::abs(row[i]));
    float step = largest / 127.0f;
    if (is_weight) step = std::bit_cast<float>((std::bit_cast<uint32_t>(step) + 0xffff) & 0xffff0000);
    for (size_t i = first; i < end; ++i) {
      const float steps = is_weight ? row[i] / step : row[i] * (127.0f / largest);
      rounded.push_back(largest == 0 ? 0.0 : std::nearbyint(steps) * static_cast<double>(step));
    }
  }
  return rounded;
}

std::vector<double> rounded_row(WeightFormat format, const std::vector<float>& row) {
  if (format == WeightFormat::kInt8) return round_to_int8(row, false);
  std::vector<double> rounded;
  for (const float x : row) rounded.push_back(static_cast<double>(round_to_bfloat16(x)));
  return rounded;
}

std::vector<double> rounded_weight(WeightFormat format, const std::vector<float>& column) {
  if (format == WeightFormat::kInt8) return round_to_int8(column, true);
  std::vector<double> rounded;
  float largest = 0;
  for (const float x : column) largest = std::max(largest, std::abs(x));
  const float scale = largest / 448.0f;
  for (const float x : column) {
    rounded.push_back(format == WeightFormat::kBFloat16
                          ? static_cast<double>(round_to_bfloat16(x))
                          : nearest_float8(x / scale) * static_cast<double>(scale));
  }
  return rounded;
}

struct Shape {
  int64_t rows;
  int64_t columns;
  int64_t depth;
};

// Empty, single, every remainder of panels and row blocks, depths around pairs, groups and pieces.
std::vector<Shape> shapes() {
  std::vector<Shape> all = {{0, 5, 16},  {1, 0, 16},    {1, 1, 1},    {2, 3, 0},     {1, 300, 96},
                            {5, 33, 64}, {3, 80, 1201}, {17, 7, 515}, {770, 17, 40}, {40, 65, 1030}};
  for (int64_t rows = 1; rows <= 26; ++rows) all.push_back({rows, 37, 66});
  for (const int64_t depth : {2, 3, 31, 32, 33, 63, 65, 129}) all.push_back({6, 19, depth});
  for (const int64_t columns : {15, 16, 17, 31, 32, 127, 129}) all.push_back({2, columns, 40});
  return all;
}

// Backend, and the type of the weight that is packed.
class PackedLinearTest : public OpTest {
 protected:
  std::vector<float> multiply(WeightFormat format, Tensor input, Tensor weight,
                              Epilogue epilogue = Epilogue::kNone) {
    return multiply_packed(*backend().pack(format, weight), input, epilogue);
  }
  std::vector<float> multiply_packed(const PackedWeight& weight, Tensor input,
                                     Epilogue epilogue = Epilogue::kNone) {
    std::vector<float> output(static_cast<size_t>(input.size(0) * weight.num_columns), NAN);
    backend().linear(matrix(output, input.size(0), weight.num_columns), input, weight, epilogue);
    return output;
  }
};

TEST_P(PackedLinearTest, MultipliesTheRoundedValues) {
  for (const WeightFormat format : kFormats) {
    for (const Shape& shape : shapes()) {
      SCOPED_TRACE(::testing::Message()
                   << name_of(format) << " " << shape.rows << " x " << shape.columns << " x " << shape.depth);
      std::vector<float> input = random().vector(shape.rows * shape.depth);
      Weight weight(weight_type(), shape.columns, shape.depth, 3, random());
      const Tensor in = matrix(input, shape.rows, shape.depth);
      const std::vector<float> output = multiply(format, in, weight.matrix());
      const std::vector<float> squared = multiply(format, in, weight.matrix(), Epilogue::kSquaredRelu);
      std::vector<std::vector<double>> columns;
      for (int64_t n = 0; n < shape.columns; ++n) {
        std::vector<float> column;
        for (int64_t k = 0; k < shape.depth; ++k) column.push_back(static_cast<float>(weight.at(n, k)));
        columns.push_back(rounded_weight(format, column));
      }
      for (int64_t t = 0; t < shape.rows; ++t) {
        const std::vector<double> row = rounded_row(format, rows_of(input, shape.depth, t, 1));
        for (int64_t n = 0; n < shape.columns; ++n) {
          double sum = 0;
          double magnitude = 0;
          for (size_t k = 0; k < row.size(); ++k) {
            sum += row[k] * columns[static_cast<size_t>(n)][k];
            magnitude += std::abs(row[k] * columns[static_cast<size_t>(n)][k]);
          }
          // One chain of additions, and the scales.
          const double bound = (static_cast<double>(shape.depth) + 4) * 0x1p-24 * magnitude;
          const size_t i = static_cast<size_t>(t * shape.columns + n);
          ASSERT_NEAR(output[i], sum, bound) << "element " << t << ", " << n;
          const float positive = std::max(output[i], 0.0f);
          ASSERT_EQ(squared[i], positive * positive) << "element " << t << ", " << n;
        }
      }
    }
  }
}

TEST_P(PackedLinearTest, GivesARowTheSameBitsAloneAndInABatch) {
  constexpr int64_t kColumns = 150;
  constexpr int64_t kDepth = 1100;
  for (const WeightFormat format : kFormats) {
    Weight weight(weight_type(), kColumns, kDepth, 5, random());
    const PackedWeight packed = *backend().pack(format, weight.matrix());
    std::vector<float> input = random().vector(60 * kDepth);
    std::vector<float> alone;
    for (int64_t t = 0; t < 60; ++t) {
      const std::vector<float> row = multiply_packed(packed, matrix(input, 60, kDepth).rows(t, 1));
      alone.insert(alone.end(), row.begin(), row.end());
    }
    for (const int64_t rows : {2, 3, 5, 7, 13, 24, 25, 60}) {
      const std::vector<float> together = multiply_packed(packed, matrix(input, 60, kDepth).rows(0, rows));
      EXPECT_TRUE(same_bits(together, rows_of(alone, kColumns, 0, rows)))
          << name_of(format) << " " << rows << " rows";
    }
  }
}

TEST_P(PackedLinearTest, GivesAColumnTheSameBitsInAnySlice) {
  constexpr int64_t kRows = 3;
  constexpr int64_t kColumns = 40;
  constexpr int64_t kDepth = 200;
  for (const WeightFormat format : kFormats) {
    std::vector<float> input = random().vector(kRows * kDepth);
    Weight weight(weight_type(), kColumns, kDepth, 0, random());
    const std::vector<float> all = multiply(format, matrix(input, kRows, kDepth), weight.matrix());
    for (int64_t n = 0; n < kColumns; ++n) {
      const std::vector<float> one =
          multiply(format, matrix(input, kRows, kDepth), weight.matrix().rows(n, 1));
      for (int64_t t = 0; t < kRows; ++t) {
        EXPECT_EQ(one[static_cast<size_t>(t)], all[static_cast<size_t>(t * kColumns + n)]) << name_of(format);
      }
    }
  }
}

TEST_P(PackedLinearTest, WritesItsOwnColumnsOfAWiderMatrixOnly) {
  constexpr int64_t kStride = 25;
  for (const WeightFormat format : kFormats) {
    std::vector<float> input = random().vector(2 * kStride);
    Weight weight(weight_type(), 21, 7, 0, random());
    const PackedWeight packed = *backend().pack(format, weight.matrix());
    std::vector<float> output(2 * kStride, -3.0f);
    backend().linear(Tensor::matrix(output.data(), DType::kFloat32, 2, 21, kStride),
                     Tensor::matrix(input.data(), DType::kFloat32, 2, 7, kStride), packed);
    for (const int64_t t : {0, 1}) {
      for (int64_t n = 21; n < kStride; ++n) EXPECT_EQ(output[static_cast<size_t>(t * kStride + n)], -3.0f);
    }
  }
}

TEST_P(PackedLinearTest, KeepsNotANumberVisible) {
  for (const WeightFormat format : kFormats) {
    for (const int64_t depth : {1, 40, 100}) {
      std::vector<float> input = random().vector(2 * depth);
      input[static_cast<size_t>(depth - 1)] = NAN;
      Weight weight(weight_type(), 3, depth, 0, random(), 0.5f, 1.0f);
      const std::vector<float> output =
          multiply(format, matrix(input, 2, depth), weight.matrix(), Epilogue::kSquaredRelu);
      for (size_t n = 0; n < 3; ++n) {
        EXPECT_TRUE(std::isnan(output[n])) << name_of(format);
        EXPECT_FALSE(std::isnan(output[3 + n])) << name_of(format);
      }
      Weight broken(weight_type(), 3, depth, 0, random(), NAN, NAN);
      std::vector<float> ones(static_cast<size_t>(depth), 1.0f);
      EXPECT_TRUE(std::isnan(multiply(format, matrix(ones, 1, depth), broken.matrix())[2]))
          << name_of(format);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PackedLinearTest,
                         ::testing::Combine(::testing::ValuesIn(cpu_cases()),
                                            ::testing::Values(DType::kBFloat16, DType::kFloat32)),
                         case_name);

// Every code of E4M3 as a weight of one column, one element deep or as one of several.
class Float8Test : public BackendTest {
 protected:
  std::vector<float> values_of(const PackedWeight& packed) {
    std::vector<float> identity(static_cast<size_t>(packed.depth * packed.depth));
    for (int64_t k = 0; k < packed.depth; ++k) identity[static_cast<size_t>(k * packed.depth + k)] = 1.0f;
    std::vector<float> output(static_cast<size_t>(packed.depth * packed.num_columns));
    backend().linear(matrix(output, packed.depth, packed.num_columns),
                     matrix(identity, packed.depth, packed.depth), packed);
    return output;  // [depth, num_columns]
  }
};

TEST_P(Float8Test, KeepsTheBitsOfAnFp8Weight) {
  std::vector<uint8_t> codes;
  for (int code = 0; code < 256; ++code) {
    if ((code & 0x7f) != 0x7f) codes.push_back(static_cast<uint8_t>(code));
  }
  const int64_t depth = static_cast<int64_t>(codes.size());
  std::vector<uint8_t> two_columns = codes;
  two_columns.insert(two_columns.end(), codes.begin(), codes.end());
  std::vector<float> scales = {0.25f, 3.0f};
  const Tensor weight(two_columns.data(), DType::kFloat8E4M3, {2, depth});
  const Tensor scale(scales.data(), DType::kFloat32, {2});
  for (const WeightFormat format : {WeightFormat::kFloat8, WeightFormat::kBFloat16}) {
    const std::vector<float> values = values_of(*backend().pack(format, weight, scale));
    for (size_t k = 0; k < codes.size(); ++k) {
      EXPECT_EQ(values[2 * k], float8_value(codes[k]) * 0.25) << name_of(format) << " code " << int{codes[k]};
      EXPECT_EQ(values[2 * k + 1], float8_value(codes[k]) * 3.0)
          << name_of(format) << " code " << int{codes[k]};
    }
  }
}

TEST_P(Float8Test, MakesAColumnWithANotANumberNotANumber) {
  std::vector<uint8_t> codes = {0x38, 0x7f, 0x38, 0x38};
  std::vector<float> scales = {1.0f};
  const std::vector<float> values =
      values_of(*backend().pack(WeightFormat::kFloat8, Tensor(codes.data(), DType::kFloat8E4M3, {2, 2}),
                                Tensor(scales.data(), DType::kFloat32, {1})));
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_EQ(values[1], 1.0f);
}

INSTANTIATE_TEST_SUITE_P(All, Float8Test, ::testing::ValuesIn(cpu_cases()), backend_name);

// Values of every magnitude: denormals, those whose products overflow or vanish, infinities, not-a-numbers.
std::vector<float> any_floats(Random& random, int64_t size) {
  std::vector<float> values;
  for (int64_t i = 0; i < size; ++i) {
    const uint32_t bits = static_cast<uint32_t>(random.integer(0, 0xffff)) << 16 |
                          static_cast<uint32_t>(random.integer(0, 0xffff));
    values.push_back(std::bit_cast<float>(bits));
  }
  return values;
}

TEST(PackedLinearBits, AreTheSameOnEveryBackend) {
  for (const WeightFormat format : kFormats) {
    for (const Shape& shape :
         {Shape{1, 203, 1000}, Shape{7, 150, 515}, Shape{64, 96, 128}, Shape{17, 40, 2100}}) {
      std::vector<float> expected;
      for (const BackendCase& backend_case : cpu_cases()) {
        Random random(7);
        std::vector<float> input = random.vector(shape.rows * shape.depth);
        Weight weight(DType::kFloat32, shape.columns, shape.depth, 1, random);
        const auto backend = make_backend(backend_case);
        std::vector<float> output(static_cast<size_t>(shape.rows * shape.columns));
        backend->linear(matrix(output, shape.rows, shape.columns), matrix(input, shape.rows, shape.depth),
                        *backend->pack(format, weight.matrix()), Epilogue::kSquaredRelu);
        if (expected.empty()) expected = output;
        EXPECT_TRUE(same_bits(expected, output)) << name_of(format) << " " << backend_case.name;
      }
    }
  }
}

TEST(PackedLinearBits, AreTheSameForDenormalsAndOverflowsToo) {
  constexpr int64_t kRows = 300;
  constexpr int64_t kColumns = 48;
  constexpr int64_t kDepth = 4;  // few enough that most results are numbers
  std::vector<float> expected;
  for (const BackendCase& backend_case : cpu_cases()) {
    Random random(11);
    std::vector<float> input = any_floats(random, kRows * kDepth);
    std::vector<float> weight = any_floats(random, kColumns * kDepth);
    const auto backend = make_backend(backend_case);
    std::vector<float> output(kRows * kColumns);
    backend->linear(matrix(output, kRows, kColumns), matrix(input, kRows, kDepth),
                    *backend->pack(WeightFormat::kBFloat16, matrix(weight, kColumns, kDepth)));
    for (float& x : output) x = std::isnan(x) ? NAN : x;  // which NaN it is may differ
    if (expected.empty()) expected = output;
    EXPECT_TRUE(same_bits(expected, output)) << backend_case.name;
  }
}

TEST(PackedWeightSize, IsThatOfItsFormat) {
  const auto backend = make_backend(cpu_cases().front());
  Random random(1);
  Weight weight(DType::kBFloat16, 64, 128, 0, random);
  EXPECT_EQ(backend->pack(WeightFormat::kBFloat16, weight.matrix())->num_bytes, 64 * 128 * 2);
  EXPECT_EQ(backend->pack(WeightFormat::kInt8, weight.matrix())->num_bytes, 64 * 128 * 34 / 32);
  EXPECT_EQ(backend->pack(WeightFormat::kFloat8, weight.matrix())->num_bytes, 64 * 128 + 64 * 4);
}

}  // namespace
}  // namespace octet::kernels
