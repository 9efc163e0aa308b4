// Host memory arrives on the device whole, whatever the pieces that it goes in.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/pinned_upload.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/kernels/op_test.h"

namespace octet::kernels {
namespace {

constexpr int64_t kPiece = cuda::PinnedUpload::kPieceBytes;

std::vector<uint16_t> finite_bfloat16s(size_t count) {
  std::vector<uint16_t> values(count);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i * 40503 >> 4 & 0x3fff);
  return values;
}

class CudaUploadTest : public ::testing::Test {
 protected:
  CudaUploadTest() {
    cuda_emulator::reset(1);
    rank_ = std::move(make_cuda_ranks({0}).front());
  }
  template <typename Value>
  std::vector<Value> downloaded(const void* device, size_t count) {
    std::vector<Value> values(count);
    rank_->download(values.data(), device, static_cast<int64_t>(count * sizeof(Value)));
    return values;
  }

  std::unique_ptr<Backend> rank_;
};

TEST_F(CudaUploadTest, BringsEveryByteThroughAnyNumberOfPieces) {
  for (const int64_t num_bytes : {int64_t{0}, int64_t{1}, kPiece - 1, kPiece, kPiece + 1, 4 * kPiece + 3}) {
    std::vector<uint8_t> bytes(static_cast<size_t>(num_bytes));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
    const auto memory = rank_->allocate(num_bytes);
    rank_->upload(memory->data(), bytes.data(), num_bytes);
    EXPECT_TRUE(bytes == downloaded<uint8_t>(memory->data(), bytes.size())) << num_bytes;
  }
}

TEST_F(CudaUploadTest, PacksAMatrixOfMorePiecesThanThereAre) {
  constexpr int64_t kColumns = 1001, kDepth = 17'000;  // a piece holds no whole number of columns
  std::vector<uint16_t> values = finite_bfloat16s(kColumns * kDepth);
  const Tensor weight(values.data(), DType::kBFloat16, {kColumns, kDepth});
  const auto packed = rank_->pack(WeightFormat::kBFloat16, weight);
  ASSERT_TRUE(packed.has_value());
  EXPECT_TRUE(values == downloaded<uint16_t>(packed->storage->data(), values.size()));
}

TEST_F(CudaUploadTest, PacksAColumnThatIsLongerThanAPiece) {
  const int64_t depth = kPiece / 2 + 32;
  std::vector<uint16_t> values = finite_bfloat16s(static_cast<size_t>(3 * depth));
  const auto packed =
      rank_->pack(WeightFormat::kBFloat16, Tensor(values.data(), DType::kBFloat16, {3, depth}));
  ASSERT_TRUE(packed.has_value());
  EXPECT_TRUE(values == downloaded<uint16_t>(packed->storage->data(), values.size()));
}

}  // namespace
}  // namespace octet::kernels
