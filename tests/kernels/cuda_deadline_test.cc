// What does not answer ends the process within its timeout, with a line that names it.
#include <thread>

#include "kernels/cuda/cuda_backend.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/kernels/op_test.h"

namespace octet::kernels {
namespace {

using ::testing::ExitedWithCode;

class CudaDeadlineTest : public ::testing::Test {
 protected:
  static constexpr CudaOptions kShort = {.determinism = Determinism::kFast,
                                         .join_timeout = std::chrono::milliseconds(50),
                                         .step_timeout = std::chrono::milliseconds(50)};

  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    cuda_emulator::reset(2);
  }

  static void put_all_reduce(Backend& rank, Buffer& data) {
    rank.all_reduce(Tensor(data.data(), DType::kFloat32, {1, 4}));
  }
  static void wait_for(Backend& rank, Buffer& data) {
    float value = 0;
    rank.download(&value, data.data(), sizeof value);
  }
};

TEST_F(CudaDeadlineTest, ADeviceThatHangsEndsTheProcess) {
  const auto rank = std::move(make_cuda_ranks({1}, kShort).front());
  const auto data = rank->allocate(16);
  EXPECT_EXIT(
      {
        cuda_emulator::set_hanging(1, true);
        wait_for(*rank, *data);
      },
      ExitedWithCode(1),
      "^rank 0: CUDA device 1, or another rank that it waits for, has not answered for [0-9]+ ms; the "
      "process "
      "ends\n$");
}

TEST_F(CudaDeadlineTest, ARankThatNeverComesEndsTheProcess) {
  const auto ranks = make_cuda_ranks({0, 1}, kShort);
  const auto data = ranks[0]->allocate(16);
  EXPECT_EXIT(
      {
        put_all_reduce(*ranks[0], *data);
        wait_for(*ranks[0], *data);
      },
      ExitedWithCode(1), "rank 0: CUDA device 0, or another rank that it waits for, has not answered for");
}

TEST_F(CudaDeadlineTest, GpusThatDoNotFindEachOtherEndTheProcess) {
  cuda_emulator::set_nccl_state(ncclInProgress);
  EXPECT_EXIT(make_cuda_ranks({0, 1}, kShort), ExitedWithCode(1),
              "rank 0: NCCL has not finished making the communicators for [0-9]+ ms; the process ends");
}

TEST_F(CudaDeadlineTest, AnErrorOfNcclEndsTheProcess) {
  cuda_emulator::set_nccl_state(ncclSystemError);
  EXPECT_EXIT(make_cuda_ranks({0, 1}, kShort), ExitedWithCode(1),
              "NCCL between the GPUs of this stage: making the communicators: ncclSystemError");
}

TEST_F(CudaDeadlineTest, AnErrorOfNcclEndsAWaitBeforeItsTimeout) {
  const auto ranks = make_cuda_ranks({0, 1});
  const auto data = ranks[0]->allocate(16);
  EXPECT_EXIT(
      {
        cuda_emulator::set_hanging(0, true);
        cuda_emulator::set_nccl_state(ncclSystemError);
        wait_for(*ranks[0], *data);
      },
      ExitedWithCode(1), "NCCL between the GPUs of this stage: an error on the way: ncclSystemError");
}

}  // namespace
}  // namespace octet::kernels
