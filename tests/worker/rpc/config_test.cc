#include "worker/config.h"

#include <gtest/gtest.h>

namespace octet::worker {
namespace {

absl::StatusOr<std::optional<WorkerConfig>> read(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "octet-worker");
  return read_worker_config(static_cast<int>(arguments.size()), arguments.data());
}

std::string error(std::vector<const char*> arguments) {
  const auto config = read(std::move(arguments));
  return config.ok() ? "ok" : std::string(config.status().message());
}

TEST(WorkerConfigTest, ALeadNeedsOnlyAModel) {
  const auto config = read({"--model", "deploy/nano"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ((*config)->port, 50061);
  EXPECT_EQ((*config)->metrics_port, 9401);
  EXPECT_EQ((*config)->max_micro_batches, 1u);
  EXPECT_EQ((*config)->threads_per_rank, 0);
  EXPECT_EQ((*config)->weights, "auto");
  EXPECT_EQ((*config)->activations, "bf16");
  EXPECT_EQ((*config)->advertise_host, "127.0.0.1");
}

TEST(WorkerConfigTest, AsManyMicroBatchesAsStagesUnlessTold) {
  EXPECT_EQ((*read({"--model", "m", "--stages", "4"}))->max_micro_batches, 4u);
  EXPECT_EQ((*read({"--model", "m", "--stages", "4", "--micro-batches", "5"}))->max_micro_batches, 5u);
}

TEST(WorkerConfigTest, AStageOnTheLeadsMachineIsReachedByLoopback) {
  const auto local = read({"--model", "m", "--stages", "2", "--stage", "1", "--lead", "localhost:50061"});
  EXPECT_EQ((*local)->advertise_host, "127.0.0.1");
  const auto remote = read({"--model", "m", "--stages", "2", "--stage", "1", "--lead", "10.0.0.1:50061"});
  EXPECT_NE((*remote)->advertise_host, "127.0.0.1");
  const auto told = read({"--model", "m", "--stages", "2", "--stage", "1", "--lead", "10.0.0.1:50061",
                          "--advertise-host", "node7"});
  EXPECT_EQ((*told)->advertise_host, "node7");
}

TEST(WorkerConfigTest, RefusesByTheFlagsName) {
  EXPECT_EQ(error({}), "--model: a folder is required");
  EXPECT_EQ(error({"--model", "m", "--stage", "2", "--stages", "2"}),
            "--stage: must be below --stages, which is 2, given 2");
  EXPECT_EQ(error({"--model", "m", "--stage", "1", "--stages", "2"}),
            "--lead: HOST:PORT of stage 0 is required on stage 1, given ''");
  EXPECT_EQ(error({"--model", "m", "--stages", "2", "--layers-per-stage", "8"}),
            "--layers-per-stage: needs one number for each of the 2 stages, given 1");
  EXPECT_EQ(error({"--model", "m", "--weights", "int4"}),
            "--weights: 'int4' is not one of auto, bf16, int8, fp8");
  EXPECT_EQ(error({"--model", "m", "--activations", "int8"}),
            "--activations: 'int8' is not one of bf16, fp32");
  EXPECT_EQ(error({"--model", "m", "--cpu-isa", "sse"}),
            "--cpu-isa: 'sse' is not one of auto, avx2, avx512, avx512_bf16");
  EXPECT_EQ(error({"--model", "m", "--pin-threads", "yes"}),
            "--pin-threads: 'yes' is not one of auto, on, off");
  EXPECT_EQ(error({"--model", "m", "--activations", "fp32", "--weights", "int8"}),
            "--activations: fp32 takes the weights as the checkpoint has them, not --weights int8");
  EXPECT_EQ(error({"--model", "m", "--activations", "fp32", "--weights", "bf16"}), "ok");
  EXPECT_EQ(error({"--model", "m", "--port", "65536"}), "--port: 65536 is not in the range 0 to 65535");
  EXPECT_EQ(error({"--model", "m", "--backend", "tpu"}), "--backend: 'tpu' is not one of cpu, simulated");
  EXPECT_EQ(error({"--model", "m", "--kv-cache-mib", "-1"}).substr(0, 15), "--kv-cache-mib:");
}

}  // namespace
}  // namespace octet::worker
