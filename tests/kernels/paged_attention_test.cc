#include <cmath>
#include <limits>

#include "tests/kernels/kv_storage.h"
#include "tests/kernels/op_test.h"
#include "tests/kernels/oracle.h"

namespace octet::kernels {
namespace {

struct Shape {
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t block_size;
  DType cache_type = DType::kFloat32;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << shape.num_heads << "/" << shape.num_kv_heads << " heads of " << shape.head_dim
             << ", blocks of " << shape.block_size << ", cache in "
             << (shape.cache_type == DType::kBFloat16 ? "bf16" : "fp32");
}

// GQA ratios 1, 2, 12 and more than a tile holds; head_dim of the family's models and ragged ones. few: those
// with few heads, or that the CUDA backend computes on tensor cores.
std::vector<Shape> shapes(bool few = false) {
  static const std::vector<Shape> all = [] {
    std::vector<Shape> shapes = {{16, 8, 16, 16}, {12, 1, 192, 16}, {3, 3, 128, 5}, {2, 1, 80, 32},
                                 {4, 2, 5, 1},    {20, 1, 17, 7},   {1, 1, 1, 64},  {40, 1, 24, 16}};
    const std::vector<Shape> in_fp32 = shapes;
    for (Shape shape : in_fp32) {
      shape.cache_type = DType::kBFloat16;
      shapes.push_back(shape);
    }
    return shapes;
  }();
  if (!few) return all;
  std::vector<Shape> some;
  for (const Shape& shape : all) {
    const bool on_tensor_cores = shape.cache_type == DType::kBFloat16 && shape.head_dim >= 128;
    if (shape.num_heads < 10 || on_tensor_cores) some.push_back(shape);
  }
  return some;
}

// A paged cache whose slots are NaN until a sequence's keys and values are written: whoever reads more than
// it should gives NaN.
class Cache {
 public:
  Cache(const Shape& shape, int64_t num_blocks, Random& random)
      : shape_(shape),
        num_blocks_(num_blocks),
        keys_(shape.cache_type, num_blocks * shape.block_size * row_size(),
              std::numeric_limits<float>::quiet_NaN()),
        values_(keys_),
        free_blocks_(random.permutation(static_cast<int32_t>(num_blocks))) {}

  int64_t row_size() const { return shape_.num_kv_heads * shape_.head_dim; }

  std::vector<int32_t> take_blocks(int64_t num_positions) {
    std::vector<int32_t> blocks;
    for (int64_t i = 0; i < num_positions; i += shape_.block_size) {
      blocks.push_back(free_blocks_.back());
      free_blocks_.pop_back();
    }
    return blocks;
  }

  // keys, values: [any, num_kv_heads, head_dim] by position.
  void write(const std::vector<int32_t>& blocks, const std::vector<float>& keys,
             const std::vector<float>& values, int64_t first_position, int64_t count) {
    for (int64_t p = first_position; p < first_position + count; ++p) {
      const int64_t slot =
          blocks[static_cast<size_t>(p / shape_.block_size)] * shape_.block_size + p % shape_.block_size;
      for (int64_t i = 0; i < row_size(); ++i) {
        keys_.set(slot * row_size() + i, keys[static_cast<size_t>(p * row_size() + i)]);
        values_.set(slot * row_size() + i, values[static_cast<size_t>(p * row_size() + i)]);
      }
    }
  }

  KvLayer layer() {
    const auto view = [&](KvStorage& data) {
      return data.tensor({num_blocks_, shape_.block_size, shape_.num_kv_heads, shape_.head_dim});
    };
    return {view(keys_), view(values_)};
  }

 private:
  Shape shape_;
  int64_t num_blocks_;
  KvStorage keys_;
  KvStorage values_;
  std::vector<int32_t> free_blocks_;
};

// A prompt with queries, keys and values for each of its positions, all of the cache's type, so that rounding
// them changes nothing.
struct Prompt {
  Prompt(const Shape& shape, int64_t num_positions, Random& random)
      : length(num_positions),
        query(random.vector(num_positions * shape.num_heads * shape.head_dim, -3.0f, 3.0f)),
        keys(random.vector(num_positions * shape.num_kv_heads * shape.head_dim)),
        values(random.vector(num_positions * shape.num_kv_heads * shape.head_dim)) {
    for (std::vector<float>* all : {&query, &keys, &values}) {
      for (float& x : *all) x = rounded_to(shape.cache_type, x);
    }
  }
  int64_t length;
  std::vector<float> query;   // [length, num_heads, head_dim]
  std::vector<float> keys;    // [length, num_kv_heads, head_dim]
  std::vector<float> values;  // [length, num_kv_heads, head_dim]
};

// The outputs of the whole prompt, computed in chunks of the given size, in a cache of its own.
std::vector<float> attend(Backend& backend, const Shape& shape, const Prompt& prompt, int64_t chunk_size,
                          uint32_t seed) {
  Random random(seed);
  Cache cache(shape, prompt.length / shape.block_size + 5, random);
  const std::vector<int32_t> blocks = cache.take_blocks(prompt.length);
  const int64_t row_size = shape.num_heads * shape.head_dim;
  std::vector<float> outputs;
  for (int64_t first = 0; first < prompt.length; first += chunk_size) {
    const int64_t count = std::min(chunk_size, prompt.length - first);
    cache.write(blocks, prompt.keys, prompt.values, first, count);
    std::vector<float> query = rows_of(prompt.query, row_size, first, count);
    std::vector<float> output(query.size(), NAN);
    const AttentionChunk chunk = {.first_row = 0,
                                  .num_rows = static_cast<int32_t>(count),
                                  .start_position = static_cast<int32_t>(first),
                                  .block_table = blocks};
    backend.paged_attention(heads(output, count, shape.num_heads, shape.head_dim),
                            heads(query, count, shape.num_heads, shape.head_dim), cache.layer(), {&chunk, 1});
    outputs.insert(outputs.end(), output.begin(), output.end());
  }
  return outputs;
}

void expect_oracle(const Shape& shape, const Prompt& prompt, const float* output, int64_t position) {
  for (int64_t h = 0; h < shape.num_heads; ++h) {
    const int64_t kv_head = h / (shape.num_heads / shape.num_kv_heads);
    const auto element = [&](const std::vector<float>& data) {
      return [&data, &shape, kv_head](int64_t j, int64_t d) {
        return static_cast<double>(
            data[static_cast<size_t>((j * shape.num_kv_heads + kv_head) * shape.head_dim + d)]);
      };
    };
    const std::vector<double> expected =
        oracle::attention(prompt.query.data() + (position * shape.num_heads + h) * shape.head_dim,
                          element(prompt.keys), element(prompt.values), position + 1, shape.head_dim);
    for (int64_t d = 0; d < shape.head_dim; ++d) {
      // In bf16 each weight is off by 2^-9 of itself at most, and values are at most 1.
      ASSERT_NEAR(output[h * shape.head_dim + d], expected[static_cast<size_t>(d)],
                  shape.cache_type == DType::kBFloat16 ? 2e-3 : 3e-6)
          << "position " << position << ", head " << h << ", dimension " << d;
    }
  }
}

using PagedAttentionTest = BackendTest;

TEST_P(PagedAttentionTest, AgreesWithTheOracle) {
  for (const Shape& shape : shapes(emulated())) {
    SCOPED_TRACE(::testing::Message() << shape);
    const Prompt prompt(shape, 71, random());
    const std::vector<float> outputs = attend(backend(), shape, prompt, prompt.length, 1);
    for (int64_t t = 0; t < prompt.length; ++t) {
      expect_oracle(shape, prompt, outputs.data() + t * shape.num_heads * shape.head_dim, t);
    }
  }
}

TEST_P(PagedAttentionTest, GivesTheSameBitsHoweverThePromptIsChunked) {
  for (const Shape& shape : shapes(emulated())) {
    SCOPED_TRACE(::testing::Message() << shape);
    const Prompt prompt(shape, 75, random());
    const std::vector<float> whole = attend(backend(), shape, prompt, prompt.length, 1);
    for (const int64_t chunk_size : {1, 7, 64}) {
      EXPECT_TRUE(same_bits(whole, attend(backend(), shape, prompt, chunk_size, 2)))
          << "chunks of " << chunk_size;
    }
  }
}

TEST_P(PagedAttentionTest, GivesTheSameBitsWhateverTheBlockSize) {
  for (const DType cache_type : {DType::kFloat32, DType::kBFloat16}) {
    Shape shape = {4, 2, 48, 1, cache_type};
    const Prompt prompt(shape, 100, random());
    const std::vector<float> expected = attend(backend(), shape, prompt, 9, 1);
    for (const int64_t block_size : {3, 16, 32, 128}) {
      shape.block_size = block_size;
      EXPECT_TRUE(same_bits(expected, attend(backend(), shape, prompt, 9, 1))) << shape;
    }
  }
}

// Prefill chunks and decodes of several sequences in one batch, against each sequence alone.
void expect_same_bits_in_a_batch(Backend& backend, const Shape& shape, Random& random) {
  const int64_t row_size = shape.num_heads * shape.head_dim;
  struct Part {
    int64_t start;
    int64_t count;
  };
  const std::vector<Part> parts = {{0, 1}, {63, 1}, {10, 25}, {0, 40}, {129, 1}, {31, 2}};
  Cache cache(shape, 40, random);
  std::vector<Prompt> prompts;
  std::vector<std::vector<int32_t>> tables;
  std::vector<AttentionChunk> chunks;
  std::vector<float> query;
  int64_t num_rows = 0;
  for (const Part& part : parts) {
    const Prompt& prompt = prompts.emplace_back(shape, part.start + part.count, random);
    tables.push_back(cache.take_blocks(prompt.length));
    cache.write(tables.back(), prompt.keys, prompt.values, 0, prompt.length);
    const std::vector<float> rows = rows_of(prompt.query, row_size, part.start, part.count);
    query.insert(query.end(), rows.begin(), rows.end());
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    chunks.push_back({.first_row = static_cast<int32_t>(num_rows),
                      .num_rows = static_cast<int32_t>(parts[i].count),
                      .start_position = static_cast<int32_t>(parts[i].start),
                      .block_table = tables[i]});
    num_rows += parts[i].count;
  }
  std::vector<float> output(query.size(), NAN);
  backend.paged_attention(heads(output, num_rows, shape.num_heads, shape.head_dim),
                          heads(query, num_rows, shape.num_heads, shape.head_dim), cache.layer(), chunks);
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::vector<float> alone = attend(backend, shape, prompts[i], 1, 3);
    EXPECT_TRUE(same_bits(rows_of(alone, row_size, parts[i].start, parts[i].count),
                          rows_of(output, row_size, chunks[i].first_row, parts[i].count)))
        << "sequence " << i;
  }
}

TEST_P(PagedAttentionTest, GivesASequenceTheSameBitsAloneAndInABatch) {
  const int64_t num_heads = emulated() ? 3 : 12;
  expect_same_bits_in_a_batch(backend(), {num_heads, 1, 192, 16}, random());
  expect_same_bits_in_a_batch(backend(), {num_heads, 1, 192, 16, DType::kBFloat16}, random());
}

TEST_P(PagedAttentionTest, SurvivesScoresFarApart) {
  for (const DType cache_type : {DType::kFloat32, DType::kBFloat16}) {
    const Shape shape = {1, 1, 16, 4, cache_type};
    Prompt prompt(shape, 70, random());
    for (float& x : prompt.query) x *= 100;
    for (float& x : prompt.keys) x *= 10;
    const std::vector<float> outputs = attend(backend(), shape, prompt, 5, 1);
    for (const float x : outputs) EXPECT_TRUE(std::isfinite(x) && std::abs(x) <= 1.01f);
  }
}

// A later row of the same chunk may hold anything.
TEST_P(PagedAttentionTest, KeepsARowsBitsWhenALaterPositionIsNotFinite) {
  for (const Shape& shape : shapes(emulated())) {
    SCOPED_TRACE(::testing::Message() << shape);
    const Prompt prompt(shape, 40, random());
    const std::vector<float> expected = attend(backend(), shape, prompt, prompt.length, 1);
    const int64_t row_size = shape.num_heads * shape.head_dim;
    const int64_t kv_size = shape.num_kv_heads * shape.head_dim;
    for (const int64_t bad : {1, 16, 33, 38}) {
      Prompt poisoned = prompt;
      for (int64_t i = 0; i < kv_size; ++i) {
        poisoned.keys[static_cast<size_t>(bad * kv_size + i)] = NAN;
        poisoned.values[static_cast<size_t>(bad * kv_size + i)] = INFINITY;
      }
      const std::vector<float> outputs = attend(backend(), shape, poisoned, prompt.length, 1);
      EXPECT_TRUE(same_bits(rows_of(expected, row_size, 0, bad), rows_of(outputs, row_size, 0, bad))) << bad;
      EXPECT_FALSE(std::isfinite(outputs[static_cast<size_t>(bad * row_size)])) << bad;
    }
  }
}

TEST_P(PagedAttentionTest, DoesNothingWithoutRows) {
  const Shape shape = {2, 1, 16, 4};
  Cache cache(shape, 1, random());
  std::vector<float> empty;
  backend().paged_attention(heads(empty, 0, 2, 16), heads(empty, 0, 2, 16), cache.layer(), {});
}

INSTANTIATE_TEST_SUITE_P(All, PagedAttentionTest, ::testing::ValuesIn(backend_cases()), backend_name);

TEST(PagedAttentionBits, AreTheSameOnEveryBackend) {
  for (const Shape& shape : shapes()) {
    std::vector<float> expected;
    for (const BackendCase& backend_case : cpu_cases()) {
      Random random(7);
      Prompt prompt(shape, 100, random);
      for (float& x : prompt.query) x *= 8;  // the whole range of the exponential
      const std::vector<float> output = attend(*make_backend(backend_case), shape, prompt, 33, 1);
      if (expected.empty()) expected = output;
      EXPECT_TRUE(same_bits(expected, output)) << backend_case.name << ", " << shape;
    }
  }
}

}  // namespace
}  // namespace octet::kernels
