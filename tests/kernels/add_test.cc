#include "tests/kernels/op_test.h"

namespace octet::kernels {
namespace {

using AddTest = BackendTest;

TEST_P(AddTest, AddsElementByElement) {
  for (const int64_t rows : {0, 1, 7, 60}) {
    for (const int64_t columns : {1, 15, 16, 17, 1001}) {
      std::vector<float> output = random().vector(rows * columns);
      std::vector<float> input = random().vector(rows * columns);
      std::vector<float> expected = output;
      for (size_t i = 0; i < expected.size(); ++i) expected[i] += input[i];
      backend().add(matrix(output, rows, columns), matrix(input, rows, columns));
      EXPECT_TRUE(same_bits(output, expected)) << rows << " x " << columns;
    }
  }
}

TEST_P(AddTest, LeavesTheGapsOfStridedRowsAlone) {
  std::vector<float> output = {1, 2, 3, 100, 4, 5, 6, 100};
  std::vector<float> input = {10, 20, 30, 7, 7, 40, 50, 60, 7, 7};
  backend().add(Tensor::matrix(output.data(), DType::kFloat32, 2, 3, 4),
                Tensor::matrix(input.data(), DType::kFloat32, 2, 3, 5));
  EXPECT_EQ(output, (std::vector<float>{11, 22, 33, 100, 44, 55, 66, 100}));
}

INSTANTIATE_TEST_SUITE_P(All, AddTest, ::testing::ValuesIn(backend_cases()), backend_name);

}  // namespace
}  // namespace octet::kernels
