#include "tests/kernels/op_test.h"
#include "tests/testing/ranks.h"

namespace octet::kernels {
namespace {

// Values whose sum depends on the order of additions, so that the order is tested and not only the set.
std::vector<float> payload(int rank, int64_t size, uint32_t round) {
  Random random(1000 * round + static_cast<uint32_t>(rank));
  std::vector<float> values = random.vector(size);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] *= (i + static_cast<size_t>(rank)) % 3 == 0 ? 4096.0f : 1.0f;
  return values;
}

std::vector<float> sum_in_rank_order(int num_ranks, int64_t size, uint32_t round) {
  std::vector<float> sum = payload(0, size, round);
  for (int rank = 1; rank < num_ranks; ++rank) {
    const std::vector<float> values = payload(rank, size, round);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += values[i];
  }
  return sum;
}

class AllReduceTest : public ::testing::TestWithParam<std::tuple<RanksOf, int>> {
 protected:
  int num_ranks() const { return std::get<1>(GetParam()); }
  Backend& rank(int r) { return *ranks_[static_cast<size_t>(r)]; }

 private:
  Ranks ranks_ = make_ranks(std::get<0>(GetParam()), num_ranks());
};

TEST_P(AllReduceTest, AddsInRankOrderWithTheSameBitsOnEveryRank) {
  // One element, odd sizes, both sides of the change from small to large (8192), several pieces a rank.
  const std::vector<int64_t> sizes = {1, 3, 128, 8191, 8192, 8193, 5, 40001, 100003, 16};
  testing::run_ranks(num_ranks(), [&](int r) {
    for (size_t round = 0; round < sizes.size(); ++round) {
      const int64_t size = sizes[round];
      std::vector<float> data = payload(r, size, static_cast<uint32_t>(round));
      rank(r).all_reduce(matrix(data, 1, size));
      EXPECT_TRUE(same_bits(data, sum_in_rank_order(num_ranks(), size, static_cast<uint32_t>(round))))
          << "rank " << r << ", " << size << " elements";
    }
  });
}

TEST_P(AllReduceTest, GivesARowTheSameBitsAloneAndInABatch) {
  constexpr int64_t kRows = 50;
  constexpr int64_t kColumns = 301;
  testing::run_ranks(num_ranks(), [&](int r) {
    std::vector<float> batch = payload(r, kRows * kColumns, 0);
    const std::vector<float> before = batch;
    rank(r).all_reduce(matrix(batch, kRows, kColumns));
    for (int64_t t = 0; t < kRows; t += 7) {
      std::vector<float> row = rows_of(before, kColumns, t, 1);
      rank(r).all_reduce(matrix(row, 1, kColumns));
      EXPECT_TRUE(same_bits(row, rows_of(batch, kColumns, t, 1))) << "rank " << r << ", row " << t;
    }
  });
}

// Collectives of all kinds and sizes right after each other, each result checked: a rank that ran ahead and
// wrote over what another still reads would be seen here.
TEST_P(AllReduceTest, KeepsCollectivesInARowApart) {
  testing::run_ranks(num_ranks(), [&](int r) {
    for (int i = 0; i < 300; ++i) {
      const int64_t size = i % 5 == 0 ? 9001 : 1 + i % 7;
      std::vector<float> data(static_cast<size_t>(size), static_cast<float>(i * (r + 1)));
      rank(r).all_reduce(matrix(data, 1, size));
      const float expected = static_cast<float>(i * num_ranks() * (num_ranks() + 1) / 2);
      EXPECT_EQ(data, std::vector<float>(data.size(), expected)) << "rank " << r << ", round " << i;
      EXPECT_EQ(rank(r).all_agree(i % 3 != 0 || r != i % num_ranks()), i % 3 != 0) << "rank " << r;
      if (i % 4 == 0) {
        std::vector<float> column = {static_cast<float>(100 * r + i)};
        std::vector<float> columns(static_cast<size_t>(num_ranks()));
        rank(r).all_gather_columns(matrix(columns, 1, num_ranks()), matrix(column, 1, 1));
        for (int other = 0; other < num_ranks(); ++other) {
          EXPECT_EQ(columns[static_cast<size_t>(other)], static_cast<float>(100 * other + i));
        }
      }
    }
  });
}

TEST_P(AllReduceTest, DoesNothingWithoutRows) {
  testing::run_ranks(num_ranks(), [&](int r) {
    std::vector<float> empty;
    rank(r).all_reduce(matrix(empty, 0, 128));
  });
}

TEST_P(AllReduceTest, AgreesOnlyWhenEveryRankDoes) {
  testing::run_ranks(num_ranks(), [&](int r) {
    EXPECT_TRUE(rank(r).all_agree(true));
    EXPECT_FALSE(rank(r).all_agree(false));
    for (int dissenter = 0; dissenter < num_ranks(); ++dissenter)
      EXPECT_FALSE(rank(r).all_agree(r != dissenter));
    EXPECT_TRUE(rank(r).all_agree(true));
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, AllReduceTest,
                         ::testing::Combine(::testing::ValuesIn(ranks_of_backends()),
                                            ::testing::Range(1, 9)));

}  // namespace
}  // namespace octet::kernels
