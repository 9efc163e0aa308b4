#include "tests/cuda_emulator/emulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/cuda_emulator/fault_kernels.h"
#include "tests/cuda_emulator/include/cuda_bf16.h"

namespace cuda_emulator {
namespace {

using ::testing::HasSubstr;

constexpr unsigned int kThreads = 64;

class EmulatorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    reset();
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
  }
  void TearDown() override { cudaStreamDestroy(stream_); }

  template <typename T>
  T* allocate(size_t count) {
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, count * sizeof(T)), cudaSuccess);
    return static_cast<T*>(memory);
  }
  template <typename T>
  std::vector<T> download(const T* memory, size_t count) {
    std::vector<T> values(count);
    EXPECT_EQ(cudaMemcpyAsync(values.data(), memory, count * sizeof(T), cudaMemcpyDeviceToHost, stream_),
              cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    return values;
  }

  cudaStream_t stream_ = nullptr;
};

TEST_F(EmulatorTest, ThreadsExchangeByShufflesAndSharedMemory) {
  std::vector<float> values(kThreads);
  std::iota(values.begin(), values.end(), 1.0f);
  float* const input = allocate<float>(kThreads);
  float* const output = allocate<float>(kThreads);
  ASSERT_EQ(cudaMemcpyAsync(input, values.data(), sizeof(float) * kThreads, cudaMemcpyHostToDevice, stream_),
            cudaSuccess);
  ASSERT_EQ(launch_block_sum(stream_, kThreads, input, output), cudaSuccess);
  EXPECT_EQ(download(output, kThreads), std::vector<float>(kThreads, kThreads * (kThreads + 1) / 2.0f));
  EXPECT_EQ(first_fault(), "");
}

TEST_F(EmulatorTest, EveryBlockOfTheGridRuns) {
  int* const counts = allocate<int>(6);
  ASSERT_EQ(cudaMemsetAsync(counts, 0, 6 * sizeof(int), stream_), cudaSuccess);
  ASSERT_EQ(launch_count(stream_, dim3(3, 2), 50, counts), cudaSuccess);
  EXPECT_EQ(download(counts, 6), std::vector<int>(6, 50));
}

TEST_F(EmulatorTest, AtomicAdditionsOfAllThreadsAreNoRaceAndWordsOfEightBytesAreExchanged) {
  auto* const output = allocate<unsigned long long>(kThreads);
  ASSERT_EQ(launch_shared_count(stream_, kThreads, output), cudaSuccess);
  const std::vector<unsigned long long> sums = download(output, kThreads);
  EXPECT_EQ(first_fault(), "");
  const unsigned long long total = (uint64_t{kThreads} << 33) + kThreads * (kThreads - 1) / 2;
  for (size_t i = 0; i < kThreads; ++i) EXPECT_EQ(sums[i], total + (i ^ 1)) << i;
}

TEST_F(EmulatorTest, TensorCoresMultiplyWhatAsynchronousCopiesBrought) {
  std::vector<__nv_bfloat16> a(16 * 16);
  std::vector<__nv_bfloat16> b(16 * 8);
  for (size_t i = 0; i < a.size(); ++i) a[i] = __float2bfloat16(static_cast<float>(i % 37) - 11);
  for (size_t i = 0; i < b.size(); ++i) b[i] = __float2bfloat16(static_cast<float>(i % 23) - 7);
  auto* const device_a = allocate<__nv_bfloat16>(a.size());
  auto* const device_b = allocate<__nv_bfloat16>(b.size());
  float* const output = allocate<float>(16 * 8);
  cudaMemcpyAsync(device_a, a.data(), a.size() * 2, cudaMemcpyHostToDevice, stream_);
  cudaMemcpyAsync(device_b, b.data(), b.size() * 2, cudaMemcpyHostToDevice, stream_);
  ASSERT_EQ(launch_product(stream_, device_a, device_b, output), cudaSuccess);
  const std::vector<float> product = download(output, 16 * 8);
  EXPECT_EQ(first_fault(), "");
  for (size_t row = 0; row < 16; ++row) {
    for (size_t column = 0; column < 8; ++column) {
      float sum = 0;
      for (size_t k = 0; k < 16; ++k) {
        sum += __bfloat162float(a[16 * row + k]) * __bfloat162float(b[8 * k + column]);
      }
      EXPECT_EQ(product[8 * row + column], sum) << row << ", " << column;
    }
  }
}

TEST_F(EmulatorTest, WorkRunsWhenTheHostWaitsForIt) {
  float* const data = allocate<float>(kThreads);
  ASSERT_EQ(launch_fault(stream_, kThreads, Fault::kNone, data), cudaSuccess);
  float value = 0;
  ASSERT_EQ(cudaMemcpyAsync(&value, data, sizeof value, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  EXPECT_EQ(value, 0.0f);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(value, 1.0f);
}

TEST_F(EmulatorTest, AStreamIsNotReadyWhileItsDeviceHangs) {
  float* const data = allocate<float>(1);
  ASSERT_EQ(cudaMemsetAsync(data, 0, sizeof(float), stream_), cudaSuccess);
  set_hanging(0, true);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaErrorNotReady);
  set_hanging(0, false);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
}

TEST_F(EmulatorTest, FreeingMemoryWaitsForWorkThatUsesIt) {
  float* const data = allocate<float>(kThreads);
  float value = 0;
  ASSERT_EQ(launch_fault(stream_, kThreads, Fault::kNone, data), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(&value, data, sizeof value, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  ASSERT_EQ(cudaFree(data), cudaSuccess);
  EXPECT_EQ(value, 1.0f);
  EXPECT_EQ(first_fault(), "");
}

TEST_F(EmulatorTest, FreshMemoryIsNotANumber) {
  EXPECT_TRUE(isnan(download(allocate<float>(1), 1)[0]));
}

TEST_F(EmulatorTest, DevicesHaveNoMoreThanTheirMemory) {
  reset(1, 1000);
  void* first = nullptr;
  void* second = nullptr;
  ASSERT_EQ(cudaMalloc(&first, 600), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&second, 600), cudaErrorMemoryAllocation);
  EXPECT_EQ(second, nullptr);
  EXPECT_EQ(allocated_bytes(), 600u);
  ASSERT_EQ(cudaFree(first), cudaSuccess);
  EXPECT_EQ(cudaFree(first), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMalloc(&second, 600), cudaSuccess);
}

TEST_F(EmulatorTest, ThePlannedCallFailsAndNoOther) {
  fail_call(2, cudaErrorMemoryAllocation);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(EmulatorTest, RefusesShapesThatNoDeviceTakes) {
  float* const data = allocate<float>(1);
  EXPECT_EQ(launch_fault(stream_, 1025, Fault::kNone, data), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch_fault(stream_, 0, Fault::kNone, data), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch_count(stream_, dim3(1, 65536), 1, allocate<int>(1)), cudaErrorInvalidConfiguration);
}

struct PlantedFault {
  Fault fault;
  const char* told;
};

class FaultTest : public EmulatorTest, public ::testing::WithParamInterface<PlantedFault> {};

TEST_P(FaultTest, IsCaughtAndTold) {
  float* const data = allocate<float>(kThreads);
  ASSERT_EQ(cudaMemsetAsync(data, 0, kThreads * sizeof(float), stream_), cudaSuccess);
  ASSERT_EQ(launch_fault(stream_, kThreads, GetParam().fault, data), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorLaunchFailure);
  EXPECT_THAT(first_fault(), HasSubstr(GetParam().told));
  // The device is of no use any more; the other one is.
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaErrorLaunchFailure);
  reset();
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaSuccess);
}

INSTANTIATE_TEST_SUITE_P(
    Planted, FaultTest,
    ::testing::Values(
        PlantedFault{Fault::kWritesPastTheEnd,
                     "block (0, 0, 0), thread (63, 0, 0) writes 4 bytes 0 bytes past 256 bytes of device 0"},
        PlantedFault{Fault::kReadsBeforeTheStart,
                     "thread (0, 0, 0) reads 4 bytes 4 bytes before 256 bytes of device 0"},
        PlantedFault{Fault::kReadsSharedUnwritten,
                     "thread (3, 0, 0) reads byte 12 of shared memory, which nobody wrote"},
        PlantedFault{Fault::kReadsSharedPastTheEnd,
                     "thread (63, 0, 0) reads 4 bytes at 256 of shared memory of 256"},
        PlantedFault{Fault::kRacesOverShared,
                     "thread (1, 0, 0) reads byte 0 of shared memory, which thread 0 wrote with no barrier"},
        PlantedFault{Fault::kRacesByWriting,
                     "writes byte 0 of shared memory, which thread 0 wrote with no barrier between"},
        PlantedFault{Fault::kRacesWithAtomics,
                     "thread (1, 0, 0) writes byte 0 of shared memory, which thread 0 read with no barrier"},
        PlantedFault{Fault::kDivergentBarrier, "waits for __syncthreads at fault_kernels.cu:"},
        PlantedFault{Fault::kTwoBarriers, "thread 63 at fault_kernels.cu:"},
        PlantedFault{Fault::kIncompleteShuffle, "waits for a warp's exchange at fault_kernels.cu:"},
        PlantedFault{Fault::kMisalignedVector, "uses 4 of an allocation, which is not aligned to 16 bytes"},
        PlantedFault{Fault::kReadsACopyTooEarly,
                     "reads byte 16 of shared memory, which an asynchronous copy is writing"},
        PlantedFault{
            Fault::kWritesUnderACopy,
            "thread (1, 0, 0) writes byte 8 of shared memory, which an asynchronous copy is writing"},
        PlantedFault{Fault::kReadsACopyOfAnother,
                     "thread (1, 0, 0) reads byte 0 of shared memory, which thread 0 wrote with no barrier"},
        PlantedFault{Fault::kEndsBeforeItsCopies,
                     "thread (0, 0, 0) ends before its asynchronous copies have"},
        PlantedFault{Fault::kMatricesOfHalfAWarp, "waits for a warp's exchange at fault_kernels.cu:"}));

TEST_F(EmulatorTest, HostAndFreedMemoryAreNoDeviceMemory) {
  std::vector<float> host(kThreads);
  ASSERT_EQ(launch_fault(stream_, kThreads, Fault::kReadsFreedOrHostMemory, host.data()), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorLaunchFailure);
  EXPECT_THAT(first_fault(), HasSubstr("thread (0, 0, 0) reads 4 bytes in no device's memory"));
}

TEST_F(EmulatorTest, GraphsRunWhatWasCapturedEachTimeTheyAreLaunched) {
  int* const counts = allocate<int>(1);
  ASSERT_EQ(cudaMemsetAsync(counts, 0, sizeof(int), stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  ASSERT_EQ(launch_count(stream_, dim3(1), 50, counts), cudaSuccess);
  ASSERT_EQ(launch_count(stream_, dim3(1), 7, counts), cudaSuccess);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  EXPECT_EQ(download(counts, 1), std::vector<int>{0});
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph), cudaSuccess);
  ASSERT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(cudaGraphLaunch(executable, stream_), cudaSuccess);
  EXPECT_EQ(download(counts, 1), std::vector<int>{3 * 57});
  EXPECT_EQ(num_graph_launches(), 3);
  ASSERT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
}

TEST_F(EmulatorTest, WaitingAndAllocatingFailWhileAStreamIsCaptured) {
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorStreamCaptureUnsupported);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&memory, 4), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
}

TEST_F(EmulatorTest, SharedMemoryBeyondTheDefaultHasToBeAskedFor) {
  float* const data = allocate<float>(1);
  EXPECT_EQ(launch_with_shared(stream_, 48 * 1024, data), cudaSuccess);
  EXPECT_EQ(launch_with_shared(stream_, 48 * 1024 + 4, data), cudaErrorInvalidValue);
  EXPECT_EQ(allow_shared(100 * 1024), cudaSuccess);
  EXPECT_EQ(launch_with_shared(stream_, 100 * 1024, data), cudaSuccess);
  EXPECT_EQ(launch_with_shared(stream_, 100 * 1024 + 4, data), cudaErrorInvalidValue);
  EXPECT_EQ(allow_shared(228 * 1024), cudaErrorInvalidValue);
}

TEST_F(EmulatorTest, AKernelMayNotTouchAnotherDevicesMemory) {
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  float* const data = allocate<float>(kThreads);
  ASSERT_EQ(launch_fault(stream_, kThreads, Fault::kNone, data), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorLaunchFailure);
  EXPECT_THAT(first_fault(), HasSubstr("writes 4 bytes of device 1"));
}

}  // namespace
}  // namespace cuda_emulator
