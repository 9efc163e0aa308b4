#include "tests/kernels/op_test.h"
#include "tests/testing/ranks.h"

namespace octet::kernels {
namespace {

class AllGatherTest : public ::testing::TestWithParam<std::tuple<RanksOf, int>> {};

TEST_P(AllGatherTest, PutsTheRanksColumnsSideBySide) {
  const int num_ranks = std::get<1>(GetParam());
  const Ranks ranks = make_ranks(std::get<0>(GetParam()), num_ranks);
  testing::run_ranks(num_ranks, [&](int r) {
    for (const int64_t num_columns : {1, 7, 200, 1601}) {
      for (const int64_t num_tokens : {0, 1, 5}) {
        // Rank r's element (t, n) is 1e5 r + 1e4 t + n, exact in fp32; its rows lie one element apart.
        const int64_t stride = num_columns + 1;
        std::vector<float> input(static_cast<size_t>(num_tokens * stride), -1.0f);
        for (int64_t t = 0; t < num_tokens; ++t) {
          for (int64_t n = 0; n < num_columns; ++n) {
            input[static_cast<size_t>(t * stride + n)] = static_cast<float>(100000 * r + 10000 * t + n);
          }
        }
        std::vector<float> output(static_cast<size_t>(num_tokens * num_ranks * num_columns), -2.0f);
        ranks[static_cast<size_t>(r)]->all_gather_columns(
            matrix(output, num_tokens, num_ranks * num_columns),
            Tensor::matrix(input.data(), DType::kFloat32, num_tokens, num_columns, stride));
        input.assign(input.size(), -3.0f);  // nobody may still be reading it
        for (size_t i = 0; i < output.size(); ++i) {
          const int64_t t = static_cast<int64_t>(i) / (num_ranks * num_columns);
          const int64_t column = static_cast<int64_t>(i) % (num_ranks * num_columns);
          ASSERT_EQ(output[i],
                    static_cast<float>(100000 * (column / num_columns) + 10000 * t + column % num_columns));
        }
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, AllGatherTest,
                         ::testing::Combine(::testing::ValuesIn(ranks_of_backends()),
                                            ::testing::Range(1, 9)));

}  // namespace
}  // namespace octet::kernels
