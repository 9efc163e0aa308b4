// One pipeline stage: its ranks (a thread and a Backend each), their weights and KV cache, what it knows of
// each sequence, and on the last stage the samplers. It obeys batch plans; it decides nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "kernels/cpu/cpu_backend.h"
#include "worker/batch/batch_plan.h"
#include "worker/batch/step_result.h"
#include "worker/link/link.h"
#include "worker/model/model_config.h"
#include "worker/model/weight_options.h"

namespace octet::worker {

// Whether each compute thread keeps to one CPU.
enum class PinThreads {
  kAuto,  // where the stage has as many threads as this process has CPUs
  kOn,
  kOff,
};

constexpr int64_t kCpuKvCacheBytes = 256 << 20;

struct StageConfig {
  std::string model_dir;
  int stage = 0;
  int num_stages = 1;
  int num_ranks = 1;  // tensor-parallel size
  std::string backend = "cpu";
  int threads_per_rank = 0;  // CPU backend; 0: the CPUs of this process, divided by the ranks
  PinThreads pin_threads = PinThreads::kAuto;        // CPU backend
  kernels::CpuIsa cpu_isa = kernels::CpuIsa::kBest;  // CPU backend
  WeightOptions weights;
  bool deterministic = false;  // GPUs: a row's bits do not depend on its batch; CPUs always do so
  // Of the KV cache, bf16 or fp32. Nothing: bf16, or fp32 where no layer of the stage computes in less.
  std::optional<kernels::DType> kv_cache_type = std::nullopt;
  std::vector<int> layers_per_stage;  // empty: balanced
  uint32_t block_size = 16;           // tokens
  uint32_t max_batch_tokens = 512;    // rows of a micro-batch
  // Over all ranks of the stage. Nothing: what weights and activations leave of the GPUs' memory, or
  // kCpuKvCacheBytes of the host's.
  std::optional<int64_t> kv_cache_bytes = std::nullopt;
  Duration join_timeout = std::chrono::seconds(60);  // GPUs: of making the communicators
  Duration step_timeout = std::chrono::seconds(10);  // of one receive or send, and of a wait for a GPU
};

// What a loaded stage holds, for Registry.Register.
struct StageShape {
  ModelConfig model;
  LayerRange layers;
  kernels::DType kv_cache_type = kernels::DType::kFloat32;
  uint32_t num_blocks = 0;   // what fits in the KV cache
  int64_t weight_bytes = 0;  // resident: packed on all ranks, and in place in the checkpoint once
};

// Makes the ranks of a stage; its errors name the flag.
using RankFactory =
    std::function<absl::StatusOr<std::vector<std::unique_ptr<kernels::Backend>>>(const StageConfig&)>;

class Stage {
 public:
  // Loads the weights. Errors name the file and the tensor, or the flag (--stage, --stages,
  // --layers-per-stage, --tp, --threads-per-rank, --backend, --cpu-isa, --weights, --activations,
  // --block-size, --max-batch-tokens, --kv-cache-mib, --step-timeout). RESOURCE_EXHAUSTED names what there is
  // no memory for.
  // make_ranks: of another backend than the CPU's, which are made without it.
  static absl::StatusOr<std::unique_ptr<Stage>> load(const StageConfig& config,
                                                     const RankFactory& make_ranks = {});
  ~Stage();

  // As given, with the number of threads found.
  const StageConfig& config() const;
  const StageShape& shape() const;

  // Starts an epoch: forgets every sequence, takes the links and uses the first num_blocks blocks. Not while
  // execute() runs. Errors: INVALID_ARGUMENT for no blocks or more than shape().num_blocks, or for other than
  // one link a rank from the previous stage (none on the first) and to the next one (none on the last); then
  // no epoch runs.
  absl::Status start_epoch(uint64_t epoch, StageLinks links, uint32_t num_blocks);

  // After start_epoch(), makes the connections of the ranks' devices to their neighbours', for which the
  // links carry the word; blocks until they are there. Nothing is to do where activations go over the links
  // themselves. Not while execute() runs. A failure ends the epoch. Errors: those of HandOff.
  absl::Status connect(Time deadline);

  // Computes one plan; blocks until the activations are handed over, or the tokens sampled. One call at a
  // time. A failure (link, deadline, plan that contradicts the stage's state) is StepResult::error; it closes
  // the links, so that the neighbours fail as well, and only start_epoch() helps. timing.idle_ns and
  // resident_ns are the caller's to fill: only it knows when the plan arrived.
  StepResult execute(const BatchPlan& plan);

  // Ends the epoch from any thread: a running connect() or execute() returns soon with an error, and so does
  // every later one.
  void abort_epoch();

 private:
  struct Impl;
  explicit Stage(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::worker
