#include "tests/kernels/op_test.h"

namespace octet::kernels {
namespace {

using GatherRowsTest = BackendTest;

TEST_P(GatherRowsTest, CopiesTheChosenRowsInTheirOrder) {
  for (const int64_t columns : {1, 17, 128}) {
    std::vector<float> input = random().vector(6 * columns);
    const std::vector<int32_t> rows = {5, 0, 3, 3};
    std::vector<float> output(rows.size() * static_cast<size_t>(columns));
    backend().gather_rows(matrix(output, 4, columns), matrix(input, 6, columns), rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_TRUE(same_bits(rows_of(output, columns, static_cast<int64_t>(i), 1),
                            rows_of(input, columns, rows[i], 1)));
    }
  }
}

TEST_P(GatherRowsTest, DoesNothingWithoutRows) {
  std::vector<float> input = random().vector(8);
  std::vector<float> output;
  backend().gather_rows(matrix(output, 0, 4), matrix(input, 2, 4), {});
}

INSTANTIATE_TEST_SUITE_P(All, GatherRowsTest, ::testing::ValuesIn(backend_cases()), backend_name);

}  // namespace
}  // namespace octet::kernels
