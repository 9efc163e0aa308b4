#include <cmath>

#include "tests/kernels/op_test.h"

namespace octet::kernels {
namespace {

using EmbeddingTest = OpTest;

TEST_P(EmbeddingTest, CopiesOwnRowsAndGivesZerosForOtherRanks) {
  constexpr int64_t kRows = 20;
  constexpr int32_t kFirstToken = 40;
  for (const int64_t hidden : {1, 15, 16, 33, 2000}) {
    Weight table(weight_type(), kRows, hidden, 2, random());
    const std::vector<int32_t> tokens = {40, 59, 39, 60, 0, 47, 47, 2147483647};
    std::vector<float> output(tokens.size() * static_cast<size_t>(hidden), NAN);
    backend().embedding(matrix(output, static_cast<int64_t>(tokens.size()), hidden), tokens, table.matrix(),
                        kFirstToken);
    for (size_t t = 0; t < tokens.size(); ++t) {
      const int64_t row = int64_t{tokens[t]} - kFirstToken;
      for (int64_t i = 0; i < hidden; ++i) {
        const double expected = row >= 0 && row < kRows ? table.at(row, i) : 0.0;
        ASSERT_EQ(static_cast<double>(output[t * static_cast<size_t>(hidden) + static_cast<size_t>(i)]),
                  expected)
            << "token " << tokens[t] << ", column " << i;
      }
    }
  }
}

TEST_P(EmbeddingTest, DoesNothingWithoutTokens) {
  Weight table(weight_type(), 3, 4, 0, random());
  std::vector<float> output;
  backend().embedding(matrix(output, 0, 4), {}, table.matrix(), 0);
}

INSTANTIATE_TEST_SUITE_P(All, EmbeddingTest, all_backends_and_types(), case_name);

}  // namespace
}  // namespace octet::kernels
