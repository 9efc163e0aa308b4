// The bytes that each CUDA kernel moves are those of the Cost line of its file, counted by the emulator.
#include <gtest/gtest.h>

#include <numeric>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/rotary_table.h"
#include "tests/cuda_emulator/emulator.h"

namespace octet::kernels {
namespace {

constexpr int64_t kTokens = 3;
constexpr int64_t kHidden = 48;
constexpr int64_t kIndexBytes = kTokens * 4;  // of token ids, positions, slots or rows

class CudaCostTest : public ::testing::TestWithParam<DType> {
 protected:
  CudaCostTest() {
    cuda_emulator::reset(1);
    rank_ = std::move(make_cuda_ranks({0}).front());
  }

  Backend& rank() { return *rank_; }
  DType type() const { return GetParam(); }
  int64_t element_bytes() const { return size_of(type()); }

  // Zeros on the device.
  Tensor tensor(DType type, std::initializer_list<int64_t> sizes) {
    Tensor shape(nullptr, type, sizes);
    buffers_.push_back(rank_->allocate(shape.num_elements() * size_of(type)));
    return Tensor(buffers_.back()->data(), type, sizes);
  }
  Tensor fp32(std::initializer_list<int64_t> sizes) { return tensor(DType::kFloat32, sizes); }

  // What op reads and writes.
  template <typename Op>
  void expect_bytes(const Op& op, int64_t read, int64_t written) {
    wait();
    cuda_emulator::start_counting();
    op();
    wait();
    const cuda_emulator::TrafficBytes bytes = cuda_emulator::counted_bytes();
    EXPECT_EQ(static_cast<int64_t>(bytes.read), read);
    EXPECT_EQ(static_cast<int64_t>(bytes.written), written);
  }

 private:
  void wait() {
    const Tensor anything = fp32({1});
    float value = 0;
    rank_->download(&value, anything.data<void>(), sizeof value);
  }

  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::unique_ptr<Backend> rank_;
};

TEST_P(CudaCostTest, Embedding) {
  const Tensor output = fp32({kTokens, kHidden});
  const Tensor table = tensor(type(), {10, kHidden});
  expect_bytes(
      [&] {
        rank().embedding(output, std::vector<int32_t>{1, 5, 2}, table, 0);
      },
      kTokens * kHidden * element_bytes() + kIndexBytes, kTokens * kHidden * 4);
}

TEST_P(CudaCostTest, LayerNorm) {
  const Tensor output = fp32({kTokens, kHidden}), residual = fp32({kTokens, kHidden}),
               input = fp32({kTokens, kHidden});
  const Tensor weight = tensor(type(), {kHidden}), bias = tensor(type(), {kHidden});
  const int64_t weights = 2 * kHidden * element_bytes();
  const int64_t row = kTokens * kHidden * 4;
  expect_bytes([&] { rank().layer_norm(output, input, weight, bias, 1e-5f); }, row + weights, row);
  expect_bytes([&] { rank().add_and_layer_norm(output, residual, input, weight, bias, 1e-5f); },
               2 * row + weights, 2 * row);
}

TEST_P(CudaCostTest, AddAndGatherRows) {
  const Tensor output = fp32({kTokens, kHidden}), input = fp32({kTokens, kHidden});
  const int64_t row = kTokens * kHidden * 4;
  expect_bytes([&] { rank().add(output, input); }, 2 * row, row);
  expect_bytes(
      [&] {
        rank().gather_rows(output, input, std::vector<int32_t>{2, 0, 1});
      },
      row + kIndexBytes, row);
}

TEST_P(CudaCostTest, Sample) {
  constexpr int64_t kVocab = 70, kTop = 2;
  const Tensor logits = fp32({kTokens, kVocab});
  const std::vector<LogitEdit> edits = {{.token = 3, .bias = 1, .penalized = true, .num_generated = 1}};
  const std::vector<uint32_t> allowed = {0xff, 0, 0};
  SampleRow row;
  row.temperature = 0.5f;
  row.top_k = 7;
  row.top_p = 0.9f;
  row.edits = edits;
  row.allowed = allowed;
  row.num_top = kTop;
  const std::vector<SampleRow> rows(kTokens, row);
  std::vector<SampledToken> results(kTokens);
  // Twice an edited logit; of an edit 16 bytes but for 3 of padding, and where it is saved.
  expect_bytes([&] { rank().sample(logits, rows, results); }, kTokens * (kVocab * 4 + 3 * 4 + 13 + 4 + 76),
               kTokens * (4 + 4 + 13 + 8 * kTop));
}

TEST_P(CudaCostTest, Linear) {
  constexpr int64_t kColumns = 20;
  const Tensor output = fp32({kTokens, kColumns}), input = fp32({kTokens, kHidden});
  const Tensor weight = tensor(type(), {kColumns, kHidden});
  expect_bytes([&] { rank().linear(output, input, weight); },
               kTokens * kHidden * 4 + kColumns * kHidden * element_bytes(), kTokens * kColumns * 4);
}

TEST_P(CudaCostTest, RotaryAndKvWrite) {
  constexpr int64_t kHeads = 4, kKvHeads = 2, kHeadDim = 16, kRotaryDim = 8;
  const Tensor query = fp32({kTokens, kHeads, kHeadDim}), key = fp32({kTokens, kKvHeads, kHeadDim});
  const Tensor value = fp32({kTokens, kKvHeads, kHeadDim});
  const KvLayer kv = {tensor(type(), {2, 4, kKvHeads, kHeadDim}), tensor(type(), {2, 4, kKvHeads, kHeadDim})};
  const RotaryTable table = make_rotary_table(rank(), 16, kRotaryDim, 10000.0f);
  const std::vector<int32_t> positions = {0, 1, 2}, slots = {0, 1, 5};
  // Only what is rotated of a query is read and written.
  const int64_t rotated = kTokens * kHeads * kRotaryDim * 4;
  const int64_t angles = kTokens * kRotaryDim * 4;
  expect_bytes([&] { rank().rotary_and_kv_write(query, key, value, positions, slots, table, kv); },
               rotated + 2 * kTokens * kKvHeads * kHeadDim * 4 + angles + 2 * kIndexBytes,
               rotated + 2 * kTokens * kKvHeads * kHeadDim * element_bytes());
}

TEST_P(CudaCostTest, PagedAttentionOfDecodes) {
  constexpr int64_t kHeads = 4, kKvHeads = 2, kHeadDim = 16, kBlockSize = 4, kKeys = 7;
  const Tensor query = fp32({kTokens, kHeads, kHeadDim}), output = fp32({kTokens, kHeads, kHeadDim});
  const KvLayer kv = {tensor(type(), {6, kBlockSize, kKvHeads, kHeadDim}),
                      tensor(type(), {6, kBlockSize, kKvHeads, kHeadDim})};
  const std::vector<std::vector<int32_t>> tables = {{0, 1}, {2, 3}, {4, 5}};
  std::vector<AttentionChunk> chunks;
  for (int32_t t = 0; t < kTokens; ++t) {
    chunks.push_back({.first_row = t,
                      .num_rows = 1,
                      .start_position = kKeys - 1,
                      .block_table = tables[static_cast<size_t>(t)]});
  }
  const int64_t cache = kTokens * kKvHeads * 2 * kKeys * kHeadDim * element_bytes();
  const int64_t rows = kTokens * kHeads * kHeadDim * 4;
  // Blocks, and positions and offsets, or the plan's items and the number of rows of one that rounds it up.
  const int64_t row_tables =
      kTokens * 2 * 4 + (type() == DType::kBFloat16 ? (kTokens + 1) * 32 : 2 * kIndexBytes);
  expect_bytes([&] { rank().paged_attention(output, query, kv, chunks); }, cache + rows + row_tables, rows);
}

INSTANTIATE_TEST_SUITE_P(Types, CudaCostTest, ::testing::Values(DType::kBFloat16, DType::kFloat32),
                         [](const auto& type) {
                           return type.param == DType::kBFloat16 ? "BFloat16" : "Float32";
                         });

}  // namespace
}  // namespace octet::kernels
