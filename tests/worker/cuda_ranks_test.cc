#include "worker/cuda_ranks.h"

#include <gtest/gtest.h>

#include "tests/cuda_emulator/emulator.h"

namespace octet::worker {
namespace {

class CudaRanks : public testing::Test {
 protected:
  void SetUp() override { cuda_emulator::reset(2); }

  static StageConfig config(int num_ranks) {
    StageConfig config;
    config.backend = "cuda";
    config.num_ranks = num_ranks;
    return config;
  }
  static std::string error(const StageConfig& config) {
    return std::string(make_cuda_ranks(config).status().message());
  }
};

TEST_F(CudaRanks, AreOneAGpu) {
  const auto ranks = make_cuda_ranks(config(2));
  ASSERT_TRUE(ranks.ok()) << ranks.status();
  ASSERT_EQ(ranks->size(), 2u);
  EXPECT_EQ((*ranks)[1]->rank(), 1);
  EXPECT_EQ((*ranks)[1]->num_ranks(), 2);
}

TEST_F(CudaRanks, SayHowManyGpusThereAre) {
  EXPECT_EQ(error(config(3)), "--tp: each of the 3 ranks needs a GPU of its own, and this process sees 2");
}

TEST_F(CudaRanks, SayThatThereIsNoDriver) {
  cuda_emulator::set_driver_version(0);
  EXPECT_EQ(error(config(1)),
            "--backend: this machine has no GPU that can be used: no NVIDIA driver is loaded");
}

TEST_F(CudaRanks, SayThatTheDriverIsTooOld) {
  cuda_emulator::set_driver_version(12040);
  EXPECT_EQ(error(config(1)),
            "--backend: the NVIDIA driver is too old: it has CUDA 12.4, and this build needs 13.0");
}

TEST_F(CudaRanks, SayThatThereIsNoGpu) {
  cuda_emulator::reset(0);
  EXPECT_EQ(error(config(1)).substr(0, 61), "--backend: this machine has no GPU that can be used: cudaErro");
}

TEST_F(CudaRanks, RefuseAnOldGpu) {
  cuda_emulator::set_compute_capability(75);
  EXPECT_EQ(error(config(1)), "--backend: CUDA device 0 has compute capability 7.5, at least 8.0 is needed");
}

TEST_F(CudaRanks, RefuseWeightsTheyDoNotHave) {
  StageConfig with_int8 = config(1);
  with_int8.weights.format = kernels::WeightFormat::kInt8;
  EXPECT_EQ(error(with_int8), "--weights: must be auto, bf16 or fp8 with --backend cuda, given int8");
}

TEST_F(CudaRanks, RefuseFp8OfGpusThatDoNotMultiplyIt) {
  StageConfig with_fp8 = config(1);
  with_fp8.weights.format = kernels::WeightFormat::kFloat8;
  EXPECT_TRUE(make_cuda_ranks(with_fp8).ok());
  cuda_emulator::set_compute_capability(80);
  EXPECT_EQ(error(with_fp8).substr(0, 48), "--weights: CUDA device 0 does not multiply fp8, ");
  with_fp8.weights.format.reset();
  EXPECT_TRUE(make_cuda_ranks(with_fp8).ok());
}

}  // namespace
}  // namespace octet::worker
