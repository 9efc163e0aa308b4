#include <cmath>

#include "tests/kernels/op_test.h"
#include "tests/kernels/oracle.h"

namespace octet::kernels {
namespace {

struct Shape {
  int64_t rows;
  int64_t columns;
  int64_t depth;
};

// Empty, single, every remainder of the register blocks, depths around the lanes, several tiles of columns.
std::vector<Shape> shapes() {
  std::vector<Shape> all = {{0, 5, 16},    {1, 0, 16},    {1, 1, 1},    {2, 3, 0},
                            {1, 130, 512}, {5, 200, 128}, {3, 80, 9001}};
  for (int64_t rows = 1; rows <= 9; ++rows) all.push_back({rows, 2 * rows + 5, 15 + rows});
  for (const int64_t depth : {15, 16, 17, 31, 47, 255}) all.push_back({6, 11, depth});
  return all;
}

using LinearTest = OpTest;

TEST_P(LinearTest, StaysWithinTheBoundOfItsRoundings) {
  for (const Shape& shape : shapes()) {
    SCOPED_TRACE(::testing::Message() << shape.rows << " x " << shape.columns << " x " << shape.depth);
    std::vector<float> input = random().vector(shape.rows * shape.depth);
    Weight weight(weight_type(), shape.columns, shape.depth, 3, random());
    std::vector<float> output(static_cast<size_t>(shape.rows * shape.columns), NAN);
    std::vector<float> squared = output;
    backend().linear(matrix(output, shape.rows, shape.columns), matrix(input, shape.rows, shape.depth),
                     weight.matrix());
    backend().linear(matrix(squared, shape.rows, shape.columns), matrix(input, shape.rows, shape.depth),
                     weight.matrix(), Epilogue::kSquaredRelu);
    // A lane's fused additions, then four levels of the tree, each with a relative error of 2^-24.
    const double roundings = std::ceil(static_cast<double>(shape.depth) / 16) + 4;
    for (int64_t t = 0; t < shape.rows; ++t) {
      for (int64_t n = 0; n < shape.columns; ++n) {
        const auto at = [&](int64_t row, int64_t column) { return weight.at(row, column); };
        const oracle::Sum sum = oracle::dot(input.data() + t * shape.depth, at, n, shape.depth);
        const double bound = 1.01 * roundings * 0x1p-24 * sum.magnitude;
        const size_t i = static_cast<size_t>(t * shape.columns + n);
        ASSERT_NEAR(output[i], sum.value, bound) << "element " << t << ", " << n;
        const double positive = std::max(sum.value, 0.0);
        ASSERT_NEAR(squared[i], positive * positive,
                    2.01 * bound * (std::abs(sum.value) + bound) + 1e-7 * positive * positive)
            << "element " << t << ", " << n;
      }
    }
  }
}

TEST_P(LinearTest, GivesARowTheSameBitsAloneAndInABatch) {
  constexpr int64_t kRows = 13;
  constexpr int64_t kColumns = 101;
  constexpr int64_t kDepth = 1003;
  std::vector<float> input = random().vector(kRows * kDepth);
  Weight weight(weight_type(), kColumns, kDepth, 5, random());
  std::vector<float> output(kRows * kColumns);
  backend().linear(matrix(output, kRows, kColumns), matrix(input, kRows, kDepth), weight.matrix());
  for (int64_t t = 0; t < kRows; ++t) {
    std::vector<float> alone(kColumns);
    backend().linear(matrix(alone, 1, kColumns), matrix(input, kRows, kDepth).rows(t, 1), weight.matrix());
    EXPECT_TRUE(same_bits(alone, rows_of(output, kColumns, t, 1))) << "row " << t;
  }
}

TEST_P(LinearTest, GivesAColumnTheSameBitsInAnySlice) {
  constexpr int64_t kRows = 3;
  constexpr int64_t kColumns = 64;
  constexpr int64_t kDepth = 200;
  std::vector<float> input = random().vector(kRows * kDepth);
  Weight weight(weight_type(), kColumns, kDepth, 0, random());
  std::vector<float> output(kRows * kColumns);
  backend().linear(matrix(output, kRows, kColumns), matrix(input, kRows, kDepth), weight.matrix());
  for (int64_t n = 0; n < kColumns; ++n) {
    std::vector<float> alone(kRows);
    backend().linear(matrix(alone, kRows, 1), matrix(input, kRows, kDepth), weight.matrix().rows(n, 1));
    for (int64_t t = 0; t < kRows; ++t) {
      EXPECT_TRUE(
          same_bits({alone[static_cast<size_t>(t)]}, {output[static_cast<size_t>(t * kColumns + n)]}));
    }
  }
}

TEST_P(LinearTest, WritesItsOwnColumnsOfAWiderMatrixOnly) {
  constexpr int64_t kStride = 9;
  std::vector<float> input = random().vector(2 * kStride);
  Weight weight(weight_type(), 5, 7, 0, random());
  std::vector<float> output(2 * kStride, -3.0f);
  backend().linear(Tensor::matrix(output.data(), DType::kFloat32, 2, 5, kStride),
                   Tensor::matrix(input.data(), DType::kFloat32, 2, 7, kStride), weight.matrix());
  for (int64_t t = 0; t < 2; ++t) {
    const auto at = [&](int64_t row, int64_t column) { return weight.at(row, column); };
    for (int64_t n = 0; n < kStride; ++n) {
      const double expected = n < 5 ? oracle::dot(input.data() + t * kStride, at, n, 7).value : -3.0;
      EXPECT_NEAR(output[static_cast<size_t>(t * kStride + n)], expected, 1e-5);
    }
  }
}

TEST_P(LinearTest, SquaredReluKeepsNotANumberVisible) {
  std::vector<float> input = {NAN};
  Weight weight(weight_type(), 1, 1, 0, random());
  std::vector<float> output = {0.0f};
  backend().linear(matrix(output, 1, 1), matrix(input, 1, 1), weight.matrix(), Epilogue::kSquaredRelu);
  EXPECT_TRUE(std::isnan(output[0]));
}

INSTANTIATE_TEST_SUITE_P(All, LinearTest, all_backends_and_types(), case_name);

TEST(LinearBits, AreTheSameOnEveryBackend) {
  for (const DType type : {DType::kBFloat16, DType::kFloat32}) {
    for (const Shape& shape : {Shape{1, 203, 1000}, Shape{7, 150, 515}, Shape{64, 96, 128}}) {
      std::vector<float> expected;
      for (const BackendCase& backend_case : cpu_cases()) {
        Random random(7);
        std::vector<float> input = random.vector(shape.rows * shape.depth);
        Weight weight(type, shape.columns, shape.depth, 1, random);
        std::vector<float> output(static_cast<size_t>(shape.rows * shape.columns));
        make_backend(backend_case)
            ->linear(matrix(output, shape.rows, shape.columns), matrix(input, shape.rows, shape.depth),
                     weight.matrix(), Epilogue::kSquaredRelu);
        if (expected.empty()) expected = output;
        EXPECT_TRUE(same_bits(expected, output)) << backend_case.name;
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
