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
#include "worker/model/model_config.h"
#include "worker/model/weight_options.h"
#include "worker/stage/pipeline_stage.h"

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

// The stage's model and layers, from config.json. Errors name the file, or the flag of what no backend can
// compute.
absl::StatusOr<StageShape> read_shape(const StageConfig& config);
// Blocks that fit in so many bytes, over all ranks. One sequence of the whole context has to fit; the error
// names --kv-cache-mib.
absl::StatusOr<uint32_t> count_blocks(const StageConfig& config, const StageShape& shape,
                                      int64_t kv_cache_bytes);

// Makes the ranks of a stage; its errors name the flag.
using RankFactory =
    std::function<absl::StatusOr<std::vector<std::unique_ptr<kernels::Backend>>>(const StageConfig&)>;

class Stage final : public PipelineStage {
 public:
  // Loads the weights. Errors name the file and the tensor, or the flag (--stage, --stages,
  // --layers-per-stage, --tp, --threads-per-rank, --backend, --cpu-isa, --weights, --activations,
  // --block-size, --max-batch-tokens, --kv-cache-mib, --step-timeout). RESOURCE_EXHAUSTED names what there is
  // no memory for.
  // make_ranks: of another backend than the CPU's, which are made without it.
  static absl::StatusOr<std::unique_ptr<Stage>> load(const StageConfig& config,
                                                     const RankFactory& make_ranks = {});
  ~Stage() override;

  // As given, with the number of threads found.
  const StageConfig& config() const;
  const StageShape& shape() const override;
  int num_ranks() const override { return config().num_ranks; }
  absl::Status start_epoch(uint64_t epoch, StageLinks links, uint32_t num_blocks) override;
  absl::Status connect(Time deadline) override;
  StepResult execute(const BatchPlan& plan) override;
  void abort_epoch() override;

 private:
  struct Impl;
  explicit Stage(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::worker
