#include <cmath>

#include "tests/kernels/op_test.h"
#include "tests/kernels/oracle.h"

namespace octet::kernels {
namespace {

constexpr float kEpsilon = 1e-5f;

using LayerNormTest = OpTest;

TEST_P(LayerNormTest, AgreesWithTheOracle) {
  for (const int64_t hidden : {1, 2, 15, 16, 17, 128, 1000, 6144}) {
    for (const int64_t num_tokens : {0, 1, 5}) {
      SCOPED_TRACE(::testing::Message() << num_tokens << " x " << hidden);
      std::vector<float> input =
          random().vector(num_tokens * hidden, -2.0f, 6.0f);  // mean 2: the variance may cancel
      Weight weight(weight_type(), 1, hidden, 0, random());
      Weight bias(weight_type(), 1, hidden, 0, random());
      std::vector<float> output(input.size(), NAN);
      backend().layer_norm(matrix(output, num_tokens, hidden), matrix(input, num_tokens, hidden),
                           weight.vector(), bias.vector(), kEpsilon);
      for (int64_t t = 0; t < num_tokens; ++t) {
        const std::vector<double> expected = oracle::layer_norm(
            input.data() + t * hidden, hidden, [&](int64_t r, int64_t i) { return weight.at(r, i); },
            [&](int64_t r, int64_t i) { return bias.at(r, i); }, static_cast<double>(kEpsilon));
        for (int64_t i = 0; i < hidden; ++i) {
          ASSERT_NEAR(output[static_cast<size_t>(t * hidden + i)], expected[static_cast<size_t>(i)], 4e-6)
              << "element " << t << ", " << i;
        }
      }
    }
  }
}

TEST_P(LayerNormTest, TakesWeightAndBiasOfDifferentTypes) {
  const DType other = weight_type() == DType::kFloat32 ? DType::kBFloat16 : DType::kFloat32;
  std::vector<float> input = random().vector(33);
  Weight weight(weight_type(), 1, 33, 0, random());
  Weight bias(other, 1, 33, 0, random());
  std::vector<float> output(33);
  backend().layer_norm(matrix(output, 1, 33), matrix(input, 1, 33), weight.vector(), bias.vector(), kEpsilon);
  const std::vector<double> expected = oracle::layer_norm(
      input.data(), 33, [&](int64_t r, int64_t i) { return weight.at(r, i); },
      [&](int64_t r, int64_t i) { return bias.at(r, i); }, static_cast<double>(kEpsilon));
  for (size_t i = 0; i < 33; ++i) EXPECT_NEAR(output[i], expected[i], 4e-6);
}

TEST_P(LayerNormTest, GivesARowTheSameBitsAloneAndInABatch) {
  constexpr int64_t kTokens = 70;
  constexpr int64_t kHidden = 715;
  std::vector<float> input = random().vector(kTokens * kHidden);
  Weight weight(weight_type(), 1, kHidden, 0, random());
  Weight bias(weight_type(), 1, kHidden, 0, random());
  std::vector<float> output(input.size());
  backend().layer_norm(matrix(output, kTokens, kHidden), matrix(input, kTokens, kHidden), weight.vector(),
                       bias.vector(), kEpsilon);
  for (int64_t t = 0; t < kTokens; ++t) {
    std::vector<float> alone(kHidden);
    backend().layer_norm(matrix(alone, 1, kHidden), matrix(input, kTokens, kHidden).rows(t, 1),
                         weight.vector(), bias.vector(), kEpsilon);
    EXPECT_TRUE(same_bits(alone, rows_of(output, kHidden, t, 1))) << "row " << t;
  }
}

TEST_P(LayerNormTest, AfterAnAddIsTheTwoOpsInOne) {
  constexpr int64_t kTokens = 19;
  constexpr int64_t kHidden = 333;
  std::vector<float> residual = random().vector(kTokens * kHidden);
  std::vector<float> input = random().vector(kTokens * kHidden);
  Weight weight(weight_type(), 1, kHidden, 0, random());
  Weight bias(weight_type(), 1, kHidden, 0, random());
  std::vector<float> sum = residual;
  std::vector<float> expected(sum.size());
  backend().add(matrix(sum, kTokens, kHidden), matrix(input, kTokens, kHidden));
  backend().layer_norm(matrix(expected, kTokens, kHidden), matrix(sum, kTokens, kHidden), weight.vector(),
                       bias.vector(), kEpsilon);
  std::vector<float> output(sum.size());
  backend().add_and_layer_norm(matrix(output, kTokens, kHidden), matrix(residual, kTokens, kHidden),
                               matrix(input, kTokens, kHidden), weight.vector(), bias.vector(), kEpsilon);
  EXPECT_TRUE(same_bits(output, expected));
  EXPECT_TRUE(same_bits(residual, sum));
}

INSTANTIATE_TEST_SUITE_P(All, LayerNormTest, all_backends_and_types(), case_name);

TEST(LayerNormBits, AreTheSameOnEveryBackend) {
  for (const DType type : {DType::kBFloat16, DType::kFloat32}) {
    std::vector<float> expected;
    for (const BackendCase& backend_case : cpu_cases()) {
      Random random(7);
      std::vector<float> input = random.vector(70 * 715);
      Weight weight(type, 1, 715, 0, random);
      Weight bias(type, 1, 715, 0, random);
      std::vector<float> output(input.size());
      make_backend(backend_case)
          ->layer_norm(matrix(output, 70, 715), matrix(input, 70, 715), weight.vector(), bias.vector(),
                       kEpsilon);
      if (expected.empty()) expected = output;
      EXPECT_TRUE(same_bits(expected, output)) << backend_case.name;
    }
  }
}

}  // namespace
}  // namespace octet::kernels
