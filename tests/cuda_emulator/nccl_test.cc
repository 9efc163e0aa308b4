// What NCCL's calls do between emulated devices, and what a rank sees of one that does not do its part.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <numeric>
#include <thread>
#include <vector>

#include "tests/cuda_emulator/emulator.h"
#include "tests/cuda_emulator/include/nccl.h"

namespace cuda_emulator {
namespace {

class NcclTest : public ::testing::Test {
 protected:
  void SetUp() override { reset(); }
};

// Runs work(rank, its stream) for two ranks at the same time, each on its device.
template <typename Work>
void on_two_threads(const Work& work) {
  std::vector<std::thread> threads;
  threads.reserve(2);
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      cudaStream_t stream = nullptr;
      ASSERT_EQ(cudaSetDevice(rank), cudaSuccess);
      ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
      work(rank, stream);
      cudaStreamDestroy(stream);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

float* allocate(size_t count) {
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, count * sizeof(float)), cudaSuccess);
  return static_cast<float*>(memory);
}

// Runs work(rank, its communicator, its stream) for two ranks at the same time.
template <typename Work>
void run_two_ranks(const Work& work) {
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  ncclComm_t comms[2] = {};
  ASSERT_EQ(ncclGroupStart(), ncclSuccess);
  for (int rank = 0; rank < 2; ++rank) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ASSERT_EQ(cudaSetDevice(rank), cudaSuccess);
    ASSERT_EQ(ncclCommInitRankConfig(&comms[rank], 2, id, rank, &config), ncclInProgress);
    ncclResult_t state = ncclInternalError;
    ASSERT_EQ(ncclCommGetAsyncError(comms[rank], &state), ncclSuccess);
    ASSERT_EQ(state, rank == 0 ? ncclInProgress : ncclSuccess);  // once all have joined
  }
  ASSERT_EQ(ncclGroupEnd(), ncclSuccess);
  on_two_threads([&](int rank, cudaStream_t stream) { work(rank, comms[rank], stream); });
  for (const ncclComm_t comm : comms) ncclCommDestroy(comm);
}

TEST_F(NcclTest, RanksSumAndGather) {
  run_two_ranks([&](int rank, ncclComm_t comm, cudaStream_t stream) {
    float values[3] = {1.0f + static_cast<float>(rank), 10, 0};
    void* data = nullptr;
    ASSERT_EQ(cudaMalloc(&data, sizeof values), cudaSuccess);
    auto* const numbers = static_cast<float*>(data);
    ASSERT_EQ(cudaMemcpyAsync(data, values, sizeof values, cudaMemcpyHostToDevice, stream), cudaSuccess);
    ASSERT_EQ(ncclAllReduce(data, data, 2, ncclFloat32, ncclSum, comm, stream), ncclSuccess);
    ASSERT_EQ(ncclAllGather(data, numbers + 1, 1, ncclFloat32, comm, stream), ncclSuccess);
    ASSERT_EQ(cudaMemcpyAsync(values, data, sizeof values, cudaMemcpyDeviceToHost, stream), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_THAT(values, ::testing::ElementsAre(3.0f, 3.0f, 3.0f));
    EXPECT_EQ(ncclAllReduce(data, data, 4, ncclFloat32, ncclSum, comm, stream), ncclInvalidArgument);
  });
}

TEST_F(NcclTest, RanksThatBringDifferentSizesAreToldSo) {
  run_two_ranks([&](int rank, ncclComm_t comm, cudaStream_t stream) {
    void* data = nullptr;
    ASSERT_EQ(cudaMalloc(&data, 64), cudaSuccess);
    ASSERT_EQ(ncclAllReduce(data, data, rank == 0 ? 3 : 4, ncclFloat32, ncclSum, comm, stream), ncclSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorLaunchFailure);
  });
  EXPECT_EQ(first_fault(), "NCCL: ranks bring 3 and 4 elements");
}

TEST_F(NcclTest, AStreamIsNotReadyWhileAPeerIsMissing) {
  std::latch has_looked(2);
  run_two_ranks([&](int rank, ncclComm_t comm, cudaStream_t stream) {
    void* memory = nullptr;
    ASSERT_EQ(cudaMalloc(&memory, sizeof(float)), cudaSuccess);
    ASSERT_EQ(ncclAllReduce(memory, memory, 1, ncclFloat32, ncclSum, comm, stream), ncclSuccess);
    if (rank == 0) {
      EXPECT_EQ(cudaStreamQuery(stream), cudaErrorNotReady);
    }
    has_looked.arrive_and_wait();
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  });
}

ncclComm_t join_pair(const ncclUniqueId& id, int rank) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t comm = nullptr;
  EXPECT_EQ(cudaSetDevice(rank), cudaSuccess);
  EXPECT_EQ(ncclCommInitRankConfig(&comm, 2, id, rank, &config), ncclInProgress);
  return comm;
}

ncclResult_t state_of(ncclComm_t comm) {
  ncclResult_t state = ncclInternalError;
  EXPECT_EQ(ncclCommGetAsyncError(comm, &state), ncclSuccess);
  return state;
}

// Two ranks that send and receive.
class NcclPairTest : public NcclTest {
 protected:
  void SetUp() override {
    NcclTest::SetUp();
    ncclUniqueId id;
    ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
    comms_[0] = join_pair(id, 0);
    ASSERT_EQ(state_of(comms_[0]), ncclInProgress);
    comms_[1] = join_pair(id, 1);
    for (const int rank : {0, 1}) {
      ASSERT_EQ(state_of(comms_[rank]), ncclSuccess);
      ASSERT_EQ(cudaSetDevice(rank), cudaSuccess);
      ASSERT_EQ(cudaStreamCreateWithFlags(&streams_[rank], cudaStreamNonBlocking), cudaSuccess);
      data_[rank] = allocate(kCount);
    }
  }
  void TearDown() override {
    for (const ncclComm_t comm : comms_) {
      if (comm != nullptr) ncclCommAbort(comm);
    }
    for (const cudaStream_t stream : streams_) cudaStreamDestroy(stream);
  }

  ncclResult_t send(size_t count) {
    return ncclSend(data_[0], count, ncclFloat32, 1, comms_[0], streams_[0]);
  }
  ncclResult_t receive(size_t count) {
    return ncclRecv(data_[1], count, ncclFloat32, 0, comms_[1], streams_[1]);
  }
  // The rank leaves with what is under way.
  void abort(int rank) { EXPECT_EQ(ncclCommAbort(std::exchange(comms_[rank], nullptr)), ncclSuccess); }

  static constexpr size_t kCount = 1'000'000;  // more than a socket holds
  ncclComm_t comms_[2] = {};
  cudaStream_t streams_[2] = {};
  float* data_[2] = {};
};

TEST_F(NcclPairTest, BringsWhatTheOtherSends) {
  std::vector<float> values(kCount);
  std::iota(values.begin(), values.end(), 1.0f);
  ASSERT_EQ(
      cudaMemcpyAsync(data_[0], values.data(), kCount * sizeof(float), cudaMemcpyHostToDevice, streams_[0]),
      cudaSuccess);
  ASSERT_EQ(send(kCount), ncclSuccess);
  ASSERT_EQ(receive(kCount), ncclSuccess);
  std::vector<float> brought(kCount);
  ASSERT_EQ(
      cudaMemcpyAsync(brought.data(), data_[1], kCount * sizeof(float), cudaMemcpyDeviceToHost, streams_[1]),
      cudaSuccess);
  while (cudaStreamQuery(streams_[1]) == cudaErrorNotReady) cudaStreamQuery(streams_[0]);
  EXPECT_EQ(cudaStreamSynchronize(streams_[0]), cudaSuccess);
  EXPECT_TRUE(brought == values);
}

// However little it sends.
TEST_F(NcclPairTest, ASendWaitsForItsReceive) {
  ASSERT_EQ(send(1), ncclSuccess);
  EXPECT_EQ(cudaStreamQuery(streams_[0]), cudaErrorNotReady);
  ASSERT_EQ(receive(1), ncclSuccess);
  set_hanging(1, true);
  EXPECT_EQ(cudaStreamQuery(streams_[1]), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(streams_[0]), cudaErrorNotReady) << "the other rank hangs";
  set_hanging(1, false);
  EXPECT_EQ(cudaStreamQuery(streams_[1]), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(streams_[0]), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(streams_[1]), cudaSuccess);
}

TEST_F(NcclPairTest, OtherSizesAreAFault) {
  ASSERT_EQ(send(3), ncclSuccess);
  ASSERT_EQ(receive(4), ncclSuccess);
  EXPECT_EQ(cudaStreamQuery(streams_[1]), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamSynchronize(streams_[0]), cudaErrorLaunchFailure);
  EXPECT_EQ(first_fault(), "NCCL: a rank sends 12 bytes, and the other one receives 16");
}

TEST_F(NcclPairTest, WhoWaitsForARankThatIsGoneWaitsUntilItAborts) {
  for (const int rank : {0, 1}) {
    SCOPED_TRACE(rank);
    TearDown();
    SetUp();
    ASSERT_EQ(rank == 0 ? send(kCount) : receive(kCount), ncclSuccess);
    EXPECT_EQ(cudaStreamQuery(streams_[rank]), cudaErrorNotReady);
    EXPECT_EQ(state_of(comms_[rank]), ncclSuccess);
    abort(1 - rank);
    EXPECT_EQ(cudaStreamQuery(streams_[rank]), cudaErrorNotReady);
    EXPECT_EQ(state_of(comms_[rank]), ncclRemoteError);
    EXPECT_EQ(rank == 0 ? send(1) : receive(1), ncclRemoteError);
    abort(rank);
    EXPECT_EQ(cudaStreamQuery(streams_[rank]), cudaSuccess);
  }
}

TEST_F(NcclPairTest, RefusesWhatItDoesNotHave) {
  EXPECT_EQ(ncclSend(data_[0], 1, ncclFloat32, 0, comms_[0], streams_[0]), ncclInvalidArgument) << "itself";
  EXPECT_EQ(ncclSend(data_[0], 1, ncclFloat32, 1, comms_[0], streams_[1]), ncclInvalidArgument);
  EXPECT_EQ(send(kCount + 1), ncclInvalidArgument);
  EXPECT_EQ(ncclAllReduce(data_[0], data_[0], 1, ncclFloat32, ncclSum, comms_[0], streams_[0]),
            ncclInvalidUsage);
}

TEST_F(NcclTest, AnIdThatNobodyMadeIsASystemError) {
  const ncclComm_t comm = join_pair(ncclUniqueId{}, 1);
  EXPECT_EQ(state_of(comm), ncclSystemError);
  EXPECT_EQ(ncclCommAbort(comm), ncclSuccess);
}

}  // namespace
}  // namespace cuda_emulator
