// Attention on tensor cores over several splits of the keys, however the device divides them.
#include <cmath>

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/kernels/kv_storage.h"
#include "tests/kernels/op_test.h"
#include "tests/kernels/oracle.h"
#include "tests/kernels/uploading_backend.h"

namespace octet::kernels {
namespace {

struct Shape {
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
};

// A sequence in a cache in order, and queries for its last positions.
class CudaAttentionTest : public ::testing::TestWithParam<Shape> {
 protected:
  static constexpr int64_t kBlockSize = 16;
  static constexpr int64_t kLength = 2 * cuda::kSplitKeys + 100;

  CudaAttentionTest()
      : shape_(GetParam()),
        keys_(DType::kBFloat16, kLength * kv_row(), 0),
        values_(DType::kBFloat16, kLength * kv_row(), 0) {
    for (int32_t i = 0; i < (kLength + kBlockSize - 1) / kBlockSize; ++i) blocks_.push_back(i);
    for (int64_t i = 0; i < kLength * kv_row(); ++i) {
      keys_.set(i, random_.uniform(-1, 1));
      values_.set(i, random_.uniform(-1, 1));
    }
    query_ = random_.vector(kLength * row(), -3, 3);
    for (float& x : query_) x = rounded_to(DType::kBFloat16, x);
  }

  int64_t row() const { return shape_.num_heads * shape_.head_dim; }
  int64_t kv_row() const { return shape_.num_kv_heads * shape_.head_dim; }

  // The outputs of `count` positions from `first` on, in one chunk.
  std::vector<float> attend(int num_multiprocessors, int64_t first, int64_t count) {
    cuda_emulator::reset(1);
    cuda_emulator::set_multiprocessors(num_multiprocessors);
    const auto rank = make_uploading_backend(std::move(make_cuda_ranks({0}).front()));
    std::vector<float> query = rows_of(query_, row(), first, count);
    std::vector<float> output(query.size(), NAN);
    const auto num_blocks = static_cast<int64_t>(blocks_.size());
    KvStorage keys(DType::kBFloat16, num_blocks * kBlockSize * kv_row(), NAN);
    KvStorage values = keys;
    for (int64_t i = 0; i < (first + count) * kv_row(); ++i) {
      keys.set(i, keys_.at(i));
      values.set(i, values_.at(i));
    }
    const std::initializer_list<int64_t> sizes = {num_blocks, kBlockSize, shape_.num_kv_heads,
                                                  shape_.head_dim};
    const AttentionChunk chunk = {.first_row = 0,
                                  .num_rows = static_cast<int32_t>(count),
                                  .start_position = static_cast<int32_t>(first),
                                  .block_table = blocks_};
    rank->paged_attention(heads(output, count, shape_.num_heads, shape_.head_dim),
                          heads(query, count, shape_.num_heads, shape_.head_dim),
                          {keys.tensor(sizes), values.tensor(sizes)}, {&chunk, 1});
    EXPECT_EQ(cuda_emulator::first_fault(), "");
    return output;
  }

  void expect_oracle(const std::vector<float>& output, int64_t position) {
    for (int64_t h = 0; h < shape_.num_heads; ++h) {
      const int64_t kv_head = h / (shape_.num_heads / shape_.num_kv_heads);
      const auto element = [&](const KvStorage& data) {
        return [&data, kv_head, this](int64_t j, int64_t d) {
          return static_cast<double>(data.at((j * shape_.num_kv_heads + kv_head) * shape_.head_dim + d));
        };
      };
      const std::vector<double> expected =
          oracle::attention(query_.data() + (position * shape_.num_heads + h) * shape_.head_dim,
                            element(keys_), element(values_), position + 1, shape_.head_dim);
      for (int64_t d = 0; d < shape_.head_dim; ++d) {
        ASSERT_NEAR(output[static_cast<size_t>(h * shape_.head_dim + d)], expected[static_cast<size_t>(d)],
                    2e-3);
      }
    }
  }

 private:
  const Shape shape_;
  Random random_{20240614};
  KvStorage keys_;  // [kLength, num_kv_heads, head_dim]
  KvStorage values_;
  std::vector<float> query_;  // [kLength, num_heads, head_dim]
  std::vector<int32_t> blocks_;
};

constexpr int64_t kSplit = cuda::kSplitKeys;

TEST_P(CudaAttentionTest, AgreesWithTheOracleOverSeveralSplits) {
  for (const int64_t position : {kSplit - 1, kSplit, kLength - 1}) {
    expect_oracle(attend(132, position, 1), position);
  }
}

// A decode of each row; splits in blocks of their own; and all of a tile's splits in one block.
TEST_P(CudaAttentionTest, GivesTheSameBitsHoweverSplitsAreDivided) {
  for (const int64_t first : {kSplit - 10, kLength - 20}) {
    const std::vector<float> divided = attend(132, first, 20);
    EXPECT_TRUE(same_bits(divided, attend(1, first, 20))) << first;
    for (const int64_t t : {0, 9, 10, 19}) {
      EXPECT_TRUE(same_bits(rows_of(divided, row(), t, 1), attend(132, first + t, 1))) << first << "+" << t;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaAttentionTest,
                         ::testing::Values(Shape{12, 1, 192}, Shape{8, 2, 128}, Shape{4, 2, 16}),
                         [](const auto& param) { return "HeadDim" + std::to_string(param.param.head_dim); });

}  // namespace
}  // namespace octet::kernels
