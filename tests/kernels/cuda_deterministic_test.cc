// Determinism::kDeterministic: a row's bits do not depend on its batch, where the libraries' do.
#include <gtest/gtest.h>

#include "kernels/cuda/cuda_backend.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/kernels/op_test.h"
#include "tests/kernels/uploading_backend.h"
#include "tests/testing/ranks.h"

namespace octet::kernels {
namespace {

constexpr int64_t kRows = 70;
constexpr int64_t kDepth = 96;
constexpr int64_t kColumns = 40;

class CudaDeterministicTest : public ::testing::TestWithParam<Determinism> {
 protected:
  static bool is_deterministic() { return GetParam() == Determinism::kDeterministic; }

  static Ranks ranks(int num_ranks) {
    cuda_emulator::reset(num_ranks);
    std::vector<int> devices;
    for (int i = 0; i < num_ranks; ++i) devices.push_back(i);
    Ranks ranks;
    for (auto& rank : make_cuda_ranks(devices, {.determinism = GetParam()}))
      ranks.push_back(make_uploading_backend(std::move(rank)));
    return ranks;
  }

  Random random_{20240614};
};

TEST_P(CudaDeterministicTest, KeepsAProductsRowsApart) {
  const Ranks all = ranks(1);
  Backend& rank = *all.front();
  Weight weight(DType::kBFloat16, kColumns, kDepth, 0, random_);
  const PackedWeight packed = rank.pack(WeightFormat::kBFloat16, weight.matrix()).value();
  std::vector<float> input = random_.vector(kRows * kDepth);
  const auto multiply = [&](int64_t first, int64_t count) {
    std::vector<float> rows = rows_of(input, kDepth, first, count);
    std::vector<float> output(static_cast<size_t>(count * kColumns), NAN);
    rank.linear(matrix(output, count, kColumns), matrix(rows, count, kDepth), packed);
    return output;
  };
  const std::vector<float> whole = multiply(0, kRows);
  bool all_same = true;
  for (const int64_t count : {1, 2, 3, 64}) {
    for (const int64_t first : {int64_t{0}, int64_t{5}, kRows - count}) {
      all_same = all_same && same_bits(rows_of(whole, kColumns, first, count), multiply(first, count));
    }
  }
  EXPECT_EQ(all_same, is_deterministic());
}

TEST_P(CudaDeterministicTest, AddsRanksInTheSameOrderWhereverARowLies) {
  constexpr int kRanks = 3;
  const Ranks all = ranks(kRanks);
  const std::vector<float> row = random_.vector(kDepth);

  std::vector<std::vector<float>> data(kRanks);
  for (size_t rank = 0; rank < kRanks; ++rank) {
    for (int64_t t = 0; t < kRows; ++t) {
      for (const float x : row) data[rank].push_back(x * static_cast<float>(rank * rank + 1) / 7);
    }
  }
  octet::testing::run_ranks(kRanks, [&](int rank) {
    all[static_cast<size_t>(rank)]->all_reduce(matrix(data[static_cast<size_t>(rank)], kRows, kDepth));
  });
  bool all_same = true;
  for (const std::vector<float>& sum : data) {
    EXPECT_TRUE(same_bits(data.front(), sum));
    for (int64_t t = 1; t < kRows; ++t) {
      all_same = all_same && same_bits(rows_of(sum, kDepth, 0, 1), rows_of(sum, kDepth, t, 1));
    }
  }
  EXPECT_EQ(all_same, is_deterministic());
}

INSTANTIATE_TEST_SUITE_P(All, CudaDeterministicTest,
                         ::testing::Values(Determinism::kFast, Determinism::kDeterministic),
                         [](const auto& param) {
                           return param.param == Determinism::kFast ? "Fast" : "Deterministic";
                         });

}  // namespace
}  // namespace octet::kernels
