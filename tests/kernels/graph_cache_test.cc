#include "kernels/cuda/graph_cache.h"

#include <gtest/gtest.h>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"
#include "tests/cuda_emulator/emulator.h"

namespace octet::kernels::cuda {
namespace {

// Steps that add rows of ones to a sum on the device.
class GraphCacheTest : public ::testing::Test {
 protected:
  static constexpr int64_t kRows = 4;
  static constexpr int64_t kHidden = 8;

  GraphCacheTest() {
    cuda_emulator::reset(1);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
    sum_ = zeros();
    other_sum_ = zeros();
    ones_ = zeros();
    const std::vector<float> ones(kRows * kHidden, 1.0f);
    check(cudaMemcpyAsync(ones_, ones.data(), ones.size() * 4, cudaMemcpyHostToDevice, stream_), "ones");
    check(cudaStreamSynchronize(stream_), "ones");
    queue_.emplace(stream_);
    graphs_.emplace(*queue_);
  }
  ~GraphCacheTest() override {
    graphs_.reset();
    cudaStreamDestroy(stream_);
  }

  void* zeros() {
    void* memory = nullptr;
    check(cudaMalloc(&memory, kRows * kHidden * 4), "cudaMalloc");
    check(cudaMemsetAsync(memory, 0, kRows * kHidden * 4, stream_), "cudaMemset");
    return memory;
  }
  void run(void* sum, int64_t num_rows, int times = 1) {
    graphs_->run([&] {
      for (int i = 0; i < times; ++i) {
        add(*queue_, Tensor(sum, DType::kFloat32, {num_rows, kHidden}),
            Tensor(ones_, DType::kFloat32, {num_rows, kHidden}));
      }
    });
  }
  float sum_of_row(const void* sum, int64_t row) {
    float value = NAN;
    check(cudaMemcpyAsync(&value, static_cast<const float*>(sum) + row * kHidden, 4, cudaMemcpyDeviceToHost,
                          stream_),
          "download");
    check(cudaStreamSynchronize(stream_), "download");
    return value;
  }

  void* sum_ = nullptr;
  void* other_sum_ = nullptr;
  std::optional<GraphCache> graphs_;

 private:
  cudaStream_t stream_ = nullptr;
  void* ones_ = nullptr;
  std::optional<Queue> queue_;
};

TEST_F(GraphCacheTest, ReplaysAStepFromTheSecondTimeOn) {
  for (int i = 0; i < 5; ++i) run(sum_, 2);
  EXPECT_EQ(graphs_->num_replays(), 4);
  EXPECT_EQ(sum_of_row(sum_, 0), 5);
  EXPECT_EQ(sum_of_row(sum_, 1), 5);
  EXPECT_EQ(sum_of_row(sum_, 2), 0);
}

TEST_F(GraphCacheTest, TellsStepsApartByShapeMemoryAndLength) {
  run(sum_, 1);
  run(sum_, 2);
  run(other_sum_, 1);
  run(sum_, 1, 2);
  EXPECT_EQ(graphs_->num_replays(), 0);
  run(other_sum_, 1);
  run(sum_, 1, 2);
  EXPECT_EQ(graphs_->num_replays(), 2);
  EXPECT_EQ(sum_of_row(sum_, 0), 6);
  EXPECT_EQ(sum_of_row(sum_, 1), 1);
  EXPECT_EQ(sum_of_row(other_sum_, 0), 2);
}

TEST_F(GraphCacheTest, ForgetsTheOldestStepOfMany) {
  for (int times = 1; times <= 300; ++times) run(sum_, 1, times % 7 == 0 ? 1 : times);
  const int64_t before = graphs_->num_replays();
  run(sum_, 1, 2);  // was forgotten
  EXPECT_EQ(graphs_->num_replays(), before);
  run(sum_, 1, 1);
  EXPECT_EQ(graphs_->num_replays(), before + 1);
}

}  // namespace
}  // namespace octet::kernels::cuda
