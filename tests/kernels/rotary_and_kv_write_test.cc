#include <cmath>

#include "kernels/rotary_table.h"
#include "tests/kernels/kv_storage.h"
#include "tests/kernels/op_test.h"
#include "tests/kernels/oracle.h"

namespace octet::kernels {
namespace {

constexpr float kTheta = 10000.0f;
constexpr int64_t kMaxPositions = 4096;
constexpr int64_t kBlocks = 6;
constexpr int64_t kBlockSize = 4;

struct Shape {
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t rotary_dim;
};

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = {{16, 8, 16, 8}, {12, 1, 192, 96}, {2, 2, 128, 64},
                                         {1, 1, 16, 16}, {3, 1, 10, 2},    {4, 2, 192, 70}};
  return all;
}

using RotaryAndKvWriteTest = BackendTest;

void rotate_and_check(Backend& backend, DType cache_type, Random& random) {
  const std::vector<int32_t> positions = {0, 1, 17, 4095, 1000};
  const std::vector<int32_t> slots = {7, 0, 23, 8, 9};
  // bf16 keeps 8 bits of values below 1.5.
  const double cache_tolerance = cache_type == DType::kBFloat16 ? 1.0 / 256 : 0.0;
  for (const Shape& shape : shapes()) {
    SCOPED_TRACE(::testing::Message() << shape.num_heads << "/" << shape.num_kv_heads << " heads of "
                                      << shape.head_dim << ", " << shape.rotary_dim << " rotary");
    const int64_t num_tokens = static_cast<int64_t>(positions.size());
    const RotaryTable table = make_rotary_table(backend, kMaxPositions, shape.rotary_dim, kTheta);
    std::vector<float> query = random.vector(num_tokens * shape.num_heads * shape.head_dim);
    std::vector<float> key = random.vector(num_tokens * shape.num_kv_heads * shape.head_dim);
    std::vector<float> value = random.vector(num_tokens * shape.num_kv_heads * shape.head_dim);
    const std::vector<float> old_query = query;
    const std::vector<float> old_key = key;
    const int64_t row = shape.num_kv_heads * shape.head_dim;
    KvStorage keys(cache_type, kBlocks * kBlockSize * row, -7.0f);
    KvStorage values = keys;
    const auto cache = [&](KvStorage& storage) {
      return storage.tensor({kBlocks, kBlockSize, shape.num_kv_heads, shape.head_dim});
    };
    backend.rotary_and_kv_write(heads(query, num_tokens, shape.num_heads, shape.head_dim),
                                heads(key, num_tokens, shape.num_kv_heads, shape.head_dim),
                                heads(value, num_tokens, shape.num_kv_heads, shape.head_dim), positions,
                                slots, table, {cache(keys), cache(values)});
    EXPECT_TRUE(same_bits(key, old_key));

    // The angle's rounding to fp32: 4096 * 2^-24, for values up to sqrt(2).
    constexpr double kTolerance = 6e-4;
    std::vector<bool> written(static_cast<size_t>(kBlocks * kBlockSize));
    for (int64_t t = 0; t < num_tokens; ++t) {
      const int32_t position = positions[static_cast<size_t>(t)];
      const double tolerance = position < 100 ? 1e-5 : kTolerance;
      for (int64_t h = 0; h < shape.num_heads; ++h) {
        const int64_t offset = (t * shape.num_heads + h) * shape.head_dim;
        const std::vector<double> expected =
            oracle::rotate(old_query.data() + offset, shape.head_dim, shape.rotary_dim, position, kTheta);
        for (int64_t d = 0; d < shape.head_dim; ++d) {
          ASSERT_NEAR(query[static_cast<size_t>(offset + d)], expected[static_cast<size_t>(d)],
                      d < shape.rotary_dim ? tolerance : 0.0);
        }
      }
      const int64_t slot = slots[static_cast<size_t>(t)];
      written[static_cast<size_t>(slot)] = true;
      for (int64_t h = 0; h < shape.num_kv_heads; ++h) {
        const int64_t offset = (t * shape.num_kv_heads + h) * shape.head_dim;
        const std::vector<double> expected =
            oracle::rotate(key.data() + offset, shape.head_dim, shape.rotary_dim, position, kTheta);
        for (int64_t d = 0; d < shape.head_dim; ++d) {
          ASSERT_NEAR(keys.at(slot * row + h * shape.head_dim + d), expected[static_cast<size_t>(d)],
                      cache_tolerance + (d < shape.rotary_dim ? tolerance : 0.0));
        }
      }
      std::vector<float> expected_value = rows_of(value, row, t, 1);
      for (float& x : expected_value) x = rounded_to(cache_type, x);
      EXPECT_TRUE(same_bits(values.elements(slot * row, row), expected_value));
    }
    for (int64_t slot = 0; slot < kBlocks * kBlockSize; ++slot) {
      if (written[static_cast<size_t>(slot)]) continue;
      const std::vector<float> untouched(static_cast<size_t>(row), -7.0f);
      EXPECT_TRUE(same_bits(keys.elements(slot * row, row), untouched)) << "slot " << slot;
      EXPECT_TRUE(same_bits(values.elements(slot * row, row), untouched)) << "slot " << slot;
    }
  }
}

TEST_P(RotaryAndKvWriteTest, RotatesQueriesAndKeysAndWritesSlots) {
  rotate_and_check(backend(), DType::kFloat32, random());
}

TEST_P(RotaryAndKvWriteTest, RoundsToACacheInBfloat16) {
  rotate_and_check(backend(), DType::kBFloat16, random());
}

INSTANTIATE_TEST_SUITE_P(All, RotaryAndKvWriteTest, ::testing::ValuesIn(backend_cases()), backend_name);

void expect_same_bits_on_every_backend(DType cache_type) {
  constexpr int64_t kTokens = 24;
  std::vector<float> expected;
  for (const BackendCase& backend_case : cpu_cases()) {
    const std::unique_ptr<Backend> backend = make_backend(backend_case);
    Random random(7);
    const RotaryTable table = make_rotary_table(*backend, kMaxPositions, 70, kTheta);
    std::vector<float> query = random.vector(kTokens * 12 * 192);
    std::vector<float> key = random.vector(kTokens * 192);
    std::vector<float> value = random.vector(kTokens * 192);
    std::vector<int32_t> positions;
    for (int64_t t = 0; t < kTokens; ++t) positions.push_back(random.integer(0, 4095));
    const std::vector<int32_t> slots = random.permutation(kTokens);
    KvStorage keys(cache_type, kTokens * 192, 0.0f);
    KvStorage values = keys;
    const KvLayer kv = {keys.tensor({kBlocks, kBlockSize, 1, 192}),
                        values.tensor({kBlocks, kBlockSize, 1, 192})};
    backend->rotary_and_kv_write(heads(query, kTokens, 12, 192), heads(key, kTokens, 1, 192),
                                 heads(value, kTokens, 1, 192), positions, slots, table, kv);
    for (const KvStorage* storage : {&keys, &values}) {
      const std::vector<float> elements = storage->elements(0, kTokens * 192);
      query.insert(query.end(), elements.begin(), elements.end());
    }
    if (expected.empty()) expected = query;
    EXPECT_TRUE(same_bits(expected, query)) << backend_case.name;
  }
}

TEST(RotaryAndKvWriteBits, AreTheSameOnEveryBackend) {
  expect_same_bits_on_every_backend(DType::kFloat32);
  expect_same_bits_on_every_backend(DType::kBFloat16);
}

TEST(RotaryTable, HasTheAnglesOfTransformers) {
  const std::unique_ptr<Backend> backend = make_backend(cpu_cases().front());
  const RotaryTable table = make_rotary_table(*backend, 4096, 8, kTheta);
  ASSERT_NE(table.storage, nullptr);
  // inv_freq of rotary_dim 8 is 1, 0.1, 0.01, 0.001 in fp32; angles are rounded to fp32 before the cosine.
  const float* const cosines = table.cosines.data<float>();
  const float* const sines = table.sines.data<float>();
  EXPECT_EQ(cosines[0], 1.0f);
  EXPECT_EQ(sines[0], 0.0f);
  for (const int64_t position : {1, 3, 100, 4095}) {
    const float frequencies[] = {1.0f, 0.1f, 0.01f, 0.001f};
    for (int64_t i = 0; i < 4; ++i) {
      const float angle = static_cast<float>(position) * frequencies[i];
      EXPECT_FLOAT_EQ(cosines[position * 4 + i], static_cast<float>(std::cos(static_cast<double>(angle))));
      EXPECT_FLOAT_EQ(sines[position * 4 + i], static_cast<float>(std::sin(static_cast<double>(angle))));
    }
  }
}

}  // namespace
}  // namespace octet::kernels
