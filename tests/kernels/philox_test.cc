#include "kernels/philox.h"

#include <gtest/gtest.h>

#include <set>

namespace octet::kernels {
namespace {

// Random123's kat_vectors, the lines "philox4x32 10".
TEST(Philox, GivesThePublishedKnownAnswers) {
  EXPECT_EQ(philox4x32({{0, 0, 0, 0}}, {{0, 0}}),
            (PhiloxCounter{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
  EXPECT_EQ(philox4x32({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, {{0xffffffff, 0xffffffff}}),
            (PhiloxCounter{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}));
  EXPECT_EQ(philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, {{0xa4093822, 0x299f31d0}}),
            (PhiloxCounter{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}));
}

TEST(UniformDraw, MapsSeedChoiceAndPositionAsDocumented) {
  const uint64_t seed = 0x299f31d0a4093822;
  const PhiloxCounter output = philox4x32({{7, 3, 0, 0}}, {{0xa4093822, 0x299f31d0}});
  const uint64_t integer = (uint64_t{output.words[1]} << 32 | output.words[0]) >> 12;
  EXPECT_EQ(uniform_draw(seed, 3, 7), (static_cast<double>(integer) + 0.5) / 4503599627370496.0);
}

TEST(UniformDraw, DependsOnEveryPartOfItsKey) {
  const std::set<double> draws = {
      uniform_draw(1, 2, 3),
      uniform_draw(2, 2, 3),
      uniform_draw(1, 3, 3),
      uniform_draw(1, 2, 4),
      uniform_draw(1 + (1ULL << 32), 2, 3),
      uniform_draw(1, 3, 2),
  };
  EXPECT_EQ(draws.size(), 6);
  EXPECT_EQ(uniform_draw(1, 2, 3), uniform_draw(1, 2, 3));
}

TEST(UniformDraw, IsUniformAndNeverZeroOrOne) {
  constexpr int kNumDraws = 100000;
  constexpr int kNumBins = 100;
  int counts[kNumBins] = {};
  for (int i = 0; i < kNumDraws; ++i) {
    const double draw = uniform_draw(42, i % 7, i / 7);
    ASSERT_GT(draw, 0);
    ASSERT_LT(draw, 1);
    ++counts[static_cast<int>(draw * kNumBins)];
  }
  double chi_square = 0;
  for (const int count : counts) chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_LT(chi_square, 148.2);  // 99 degrees of freedom, p = 0.001
  EXPECT_GT(chi_square, 60);     // p = 0.9993: too even to be random
}

}  // namespace
}  // namespace octet::kernels
