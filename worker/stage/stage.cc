#include "worker/stage/stage.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/cpu_topology.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/model/pack_weights.h"
#include "worker/model/rank_model.h"
#include "worker/stage/batch_input.h"
#include "worker/stage/epoch_links.h"
#include "worker/stage/load_weights.h"
#include "worker/stage/memory_budget.h"
#include "worker/stage/rank_threads.h"
#include "worker/stage/sample_rows.h"
#include "worker/stage/sequence_states.h"
#include "worker/stage/token_texts.h"

namespace octet::worker {
namespace {

constexpr uint32_t kMaxBlockSize = 1024;
constexpr uint32_t kMaxBatchTokens = 1 << 20;

// As many threads as this process has CPUs, if none are given. Requires num_ranks > 0.
int threads_per_rank(const StageConfig& config) {
  if (config.threads_per_rank != 0) return config.threads_per_rank;
  const int num_cpus = static_cast<int>(kernels::usable_cpus().size());
  return std::clamp(num_cpus / config.num_ranks, 1, kernels::kMaxCpuThreadsPerRank);
}

kernels::CpuOptions cpu_options(const StageConfig& config) {
  kernels::CpuOptions options;
  options.num_ranks = config.num_ranks;
  options.threads_per_rank = config.threads_per_rank;
  options.isa = config.cpu_isa;
  if (config.pin_threads == PinThreads::kOff) return options;
  options.cpus = kernels::usable_cpus();
  const size_t num_threads =
      static_cast<size_t>(config.num_ranks) * static_cast<size_t>(config.threads_per_rank);
  // Fewer threads are better placed by the system, which sees what else runs; so are more.
  if (config.pin_threads == PinThreads::kAuto && num_threads != options.cpus.size()) options.cpus.clear();
  return options;
}

absl::Status check_weights(const WeightOptions& options) {
  if (options.activations == ActivationType::kBFloat16 || !options.format) return absl::OkStatus();
  if (*options.format == kernels::WeightFormat::kBFloat16) return absl::OkStatus();
  return invalid_field("--activations", absl::StrCat("fp32 takes the weights as the checkpoint has them, not "
                                                     "--weights ",
                                                     name_of(*options.format)));
}

absl::Status out_of_range(std::string_view flag, int64_t max, int64_t given) {
  return invalid_field(flag, absl::StrCat("must be in [1, ", max, "], given ", given));
}

// What no backend can compute.
absl::Status check_flags(const StageConfig& config, const ModelConfig& model) {
  if (config.stage < 0 || config.stage >= config.num_stages) {
    return invalid_field(
        "--stage", absl::StrCat("must be in [0, --stages ", config.num_stages, "), given ", config.stage));
  }
  if (config.block_size < 1 || config.block_size > kMaxBlockSize) {
    return out_of_range("--block-size", kMaxBlockSize, config.block_size);
  }
  if (config.max_batch_tokens < 1 || config.max_batch_tokens > kMaxBatchTokens) {
    return out_of_range("--max-batch-tokens", kMaxBatchTokens, config.max_batch_tokens);
  }
  if (config.step_timeout <= Duration::zero()) return invalid_field("--step-timeout", "must be above 0");
  if (absl::Status status = check_tensor_parallel(model, config.num_ranks); !status.ok()) return status;
  return check_weights(config.weights);
}

}  // namespace

absl::StatusOr<StageShape> read_shape(const StageConfig& config) {
  StageShape shape;
  auto model = read_model_config(config.model_dir);
  if (!model.ok()) return model.status();
  shape.model = *std::move(model);
  const auto ranges = split_layers(shape.model, config.num_stages, config.layers_per_stage);
  if (!ranges.ok()) return ranges.status();
  if (absl::Status status = check_flags(config, shape.model); !status.ok()) return status;
  shape.layers = (*ranges)[static_cast<size_t>(config.stage)];
  return shape;
}

namespace {

// The CPU backend, which is the one without a factory.
absl::StatusOr<std::vector<std::unique_ptr<kernels::Backend>>> make_cpu_ranks(const StageConfig& config) {
  if (config.backend != "cpu") {
    return invalid_field("--backend", absl::StrCat("must be cpu, given ", config.backend));
  }
  if (config.num_ranks > kernels::kMaxCpuRanks) {
    return out_of_range("--tp", kernels::kMaxCpuRanks, config.num_ranks);
  }
  if (config.threads_per_rank < 1 || config.threads_per_rank > kernels::kMaxCpuThreadsPerRank) {
    return out_of_range("--threads-per-rank", kernels::kMaxCpuThreadsPerRank, config.threads_per_rank);
  }
  if (const auto problem = find_problem(cpu_options(config))) {
    return invalid_field(config.cpu_isa == kernels::CpuIsa::kBest ? "--backend" : "--cpu-isa", *problem);
  }
  return kernels::make_cpu_ranks(cpu_options(config));
}

absl::StatusOr<kernels::DType> find_kv_cache_type(const StageConfig& config, const StageShape& shape,
                                                  const Checkpoint& checkpoint) {
  if (config.kv_cache_type) return *config.kv_cache_type;
  const auto plan = plan_weights(checkpoint, shape.model, shape.layers, config.weights);
  if (!plan.ok()) return plan.status();
  return plan->num_packed > 0 ? kernels::DType::kBFloat16 : kernels::DType::kFloat32;
}

RankModelSizes model_sizes(const StageConfig& config, const StageShape& shape) {
  RankModelSizes sizes;
  sizes.block_size = config.block_size;
  sizes.num_blocks = shape.num_blocks;
  sizes.kv_cache_type = shape.kv_cache_type;
  sizes.max_batch_tokens = config.max_batch_tokens;
  return sizes;
}

// Of one rank, in bytes.
int64_t kv_block_bytes(const StageConfig& config, const StageShape& shape) {
  return RankModel::kv_block_bytes(shape.model, shape.layers, config.block_size, config.num_ranks,
                                   shape.kv_cache_type);
}

// That one sequence of the whole context takes.
int64_t blocks_of_context(const StageConfig& config, const StageShape& shape) {
  return (shape.model.max_model_len + int64_t{config.block_size} - 1) / config.block_size;
}

// What the KV cache may take, over all ranks. On GPUs the rank with the least memory decides.
absl::StatusOr<int64_t> find_kv_cache_bytes(const StageConfig& config, const StageShape& shape,
                                            const Checkpoint& checkpoint,
                                            std::span<const std::unique_ptr<kernels::Backend>> ranks) {
  std::optional<int64_t> least;
  for (const std::unique_ptr<kernels::Backend>& rank : ranks) {
    const std::optional<kernels::DeviceMemory> device = rank->memory();
    if (!device) return config.kv_cache_bytes.value_or(kCpuKvCacheBytes);
    const auto weight_bytes =
        device_weight_bytes(checkpoint, shape.model, shape.layers, config.weights, *rank);
    if (!weight_bytes.ok()) return weight_bytes.status();
    RankNeeds needs;
    needs.weight_bytes = *weight_bytes;
    needs.activation_bytes =
        RankModel::activation_bytes(shape.model, model_sizes(config, shape), config.num_ranks,
                                    shape.layers.end == shape.model.num_layers);
    needs.sequence_bytes = blocks_of_context(config, shape) * kv_block_bytes(config, shape);
    if (config.kv_cache_bytes) needs.kv_cache_bytes = *config.kv_cache_bytes / config.num_ranks;
    const auto budget = divide_memory(*device, needs);
    if (!budget.ok()) return budget.status();
    if (rank->rank() == 0) spdlog::info("GPU memory of rank 0, {}", to_text(*budget));
    least = std::min(least.value_or(budget->kv_cache_bytes), budget->kv_cache_bytes);
  }
  return *least * config.num_ranks;
}

}  // namespace

absl::StatusOr<uint32_t> count_blocks(const StageConfig& config, const StageShape& shape,
                                      int64_t kv_cache_bytes) {
  const int64_t block_bytes = config.num_ranks * kv_block_bytes(config, shape);
  const int64_t needed = blocks_of_context(config, shape);
  const int64_t fitting = kv_cache_bytes / block_bytes;
  if (fitting < needed) {
    constexpr int64_t kMebibyte = 1 << 20;
    return invalid_field("--kv-cache-mib",
                         absl::StrCat("one sequence of ", shape.model.max_model_len, " tokens needs ",
                                      (needed * block_bytes + kMebibyte - 1) / kMebibyte,
                                      " MiB on this stage, given ", kv_cache_bytes / kMebibyte));
  }
  const int64_t addressable = INT32_MAX / config.block_size;  // slots are 32-bit numbers
  return static_cast<uint32_t>(std::min(fitting, addressable));
}

struct Stage::Impl {
  // What one rank reports of a step.
  struct RankTiming {
    uint64_t receive_wait_ns = 0;
    uint64_t compute_ns = 0;
    uint64_t send_ns = 0;
    uint64_t sent_bytes = 0;
  };

  Impl(const StageConfig& stage_config, StageShape stage_shape, std::unique_ptr<Checkpoint> stage_checkpoint,
       std::vector<std::unique_ptr<kernels::Backend>> ranks)
      : config(stage_config),
        shape(std::move(stage_shape)),
        checkpoint(std::move(stage_checkpoint)),
        backends(std::move(ranks)),
        constraints(is_last()
                        ? read_constraints(config.model_dir, static_cast<uint32_t>(shape.model.vocab_size))
                        : std::optional<Constraints>()),
        states(constraints ? &*constraints : nullptr),
        timings(static_cast<size_t>(config.num_ranks)),
        threads(config.num_ranks) {}

  bool is_first() const { return config.stage == 0; }
  bool is_last() const { return config.stage == config.num_stages - 1; }

  absl::Status make_models();
  absl::Status run(const BatchPlan& plan, std::vector<SequenceSample>& samples);
  absl::Status take_step(uint64_t step);
  absl::Status connect_rank(int rank, Time deadline);
  void run_rank(int rank, const BatchPlan& plan, std::vector<SequenceSample>& samples);
  void compute_rank(int rank, const BatchPlan& plan, std::vector<SequenceSample>& samples);
  absl::Status receive(int rank, uint64_t step);
  absl::Status send(int rank, uint64_t step);
  void add_timing(StepTiming& timing) const;

  const StageConfig config;
  StageShape shape;
  const std::unique_ptr<Checkpoint> checkpoint;
  const std::vector<std::unique_ptr<kernels::Backend>> backends;  // [num_ranks]
  std::vector<std::unique_ptr<RankModel>> models;                 // [num_ranks]

  std::optional<Constraints> constraints;  // on the last stage
  SequenceStates states;
  BatchInput input;
  std::optional<uint64_t> last_step;  // in this epoch
  std::vector<RankTiming> timings;    // [num_ranks], of the last step, each written by its rank
  EpochLinks links;
  RankThreads threads;  // last, so that it ends before what it uses
};

absl::Status Stage::Impl::make_models() {
  const RankModelSizes sizes = model_sizes(config, shape);
  auto weights = load_weights(*checkpoint, shape.model, shape.layers, config.weights, backends, threads);
  if (!weights.ok()) return weights.status();
  shape.weight_bytes = weights->resident_bytes;
  for (size_t rank = 0; rank < backends.size(); ++rank) {
    auto model = RankModel::create(*backends[rank], shape.model, std::move(weights->ranks[rank]), sizes);
    if (!model.ok()) return model.status();
    models.push_back(*std::move(model));
  }
  return absl::OkStatus();
}

absl::Status Stage::Impl::run(const BatchPlan& plan, std::vector<SequenceSample>& samples) {
  std::fill(timings.begin(), timings.end(), RankTiming{});
  if (absl::Status status = links.failure(); !status.ok()) return status;
  if (absl::Status status = take_step(plan.step); !status.ok()) return status;
  if (absl::Status status = make_batch_input(plan, states, input); !status.ok()) return status;
  threads.run([&](int rank) { run_rank(rank, plan, samples); });
  return links.failure();
}

// An epoch's steps rise by one, from 0 with a warm-up or from 1 without.
absl::Status Stage::Impl::take_step(uint64_t step) {
  const bool follows = last_step ? step == *last_step + 1 : step <= 1;
  if (!follows) {
    return absl::InvalidArgumentError(absl::StrCat(
        "plan of step ", step, last_step ? absl::StrCat(" after step ", *last_step) : " opens the epoch"));
  }
  last_step = step;
  return absl::OkStatus();
}

absl::Status Stage::Impl::connect_rank(int rank, Time deadline) {
  HandOff* const hand_offs[] = {links.to_next(rank), links.from_previous(rank)};
  // The next stage is told before this one waits for the previous: all stages connect at the same time.
  for (HandOff* const hand_off : hand_offs) {
    if (hand_off == nullptr) continue;
    if (absl::Status begun = hand_off->begin_connecting(deadline); !begun.ok()) return begun;
  }
  for (HandOff* const hand_off : hand_offs) {
    if (hand_off == nullptr) continue;
    if (absl::Status finished = hand_off->finish_connecting(deadline); !finished.ok()) return finished;
  }
  return absl::OkStatus();
}

void Stage::Impl::run_rank(int rank, const BatchPlan& plan, std::vector<SequenceSample>& samples) {
  RankTiming& timing = timings[static_cast<size_t>(rank)];
  const Time start = now();
  const absl::Status received = receive(rank, plan.step);
  if (!received.ok()) links.close(received);  // wakes the ranks that still wait
  const Time received_at = now();
  timing.receive_wait_ns = nanoseconds(received_at - start);

  // All ranks compute or none does: those that went ahead would wait for the others in an all-reduce.
  if (!backends[static_cast<size_t>(rank)]->all_agree(received.ok())) return;
  compute_rank(rank, plan, samples);
  backends[static_cast<size_t>(rank)]->synchronize();
  const Time computed_at = now();
  timing.compute_ns = nanoseconds(computed_at - received_at);

  if (const absl::Status sent = send(rank, plan.step); !sent.ok()) links.close(sent);
  timing.send_ns = nanoseconds(now() - computed_at);
}

void Stage::Impl::compute_rank(int rank, const BatchPlan& plan, std::vector<SequenceSample>& samples) {
  RankModel& model = *models[static_cast<size_t>(rank)];
  model.forward(input.model);
  if (!is_last()) return;
  kernels::Backend& backend = *backends[static_cast<size_t>(rank)];
  RankModel::LogitsUser sample;  // by one rank: all have the same logits
  if (rank == 0) {
    sample = [&](int64_t first, const kernels::Tensor& logits) {
      sample_rows(plan, input, first, backend, logits, samples);
    };
  }
  model.compute_logits(input.model, sample);
}

absl::Status Stage::Impl::receive(int rank, uint64_t step) {
  HandOff* const hand_off = links.from_previous(rank);
  if (hand_off == nullptr) return absl::OkStatus();
  const kernels::Tensor activations = models[static_cast<size_t>(rank)]->incoming(input.model.num_rows());
  return hand_off->receive(step, activations, now() + config.step_timeout);
}

absl::Status Stage::Impl::send(int rank, uint64_t step) {
  HandOff* const hand_off = links.to_next(rank);
  if (hand_off == nullptr) return absl::OkStatus();
  const kernels::Tensor activations = models[static_cast<size_t>(rank)]->outgoing(input.model.num_rows());
  timings[static_cast<size_t>(rank)].sent_bytes =
      static_cast<uint64_t>(activations.num_elements() * kernels::size_of(activations.dtype()));
  return hand_off->send(step, activations, now() + config.step_timeout);
}

// The slowest rank's times, all ranks' bytes.
void Stage::Impl::add_timing(StepTiming& timing) const {
  for (const RankTiming& rank : timings) {
    timing.receive_wait_ns = std::max(timing.receive_wait_ns, rank.receive_wait_ns);
    timing.compute_ns = std::max(timing.compute_ns, rank.compute_ns);
    timing.send_ns = std::max(timing.send_ns, rank.send_ns);
    timing.sent_bytes += rank.sent_bytes;
  }
}

Stage::Stage(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Stage::~Stage() = default;

const StageConfig& Stage::config() const {
  return impl_->config;
}
const StageShape& Stage::shape() const {
  return impl_->shape;
}

absl::StatusOr<std::unique_ptr<Stage>> Stage::load(const StageConfig& given, const RankFactory& make_ranks) {
  StageConfig config = given;
  auto read = read_shape(config);
  if (!read.ok()) return read.status();
  StageShape shape = *std::move(read);
  if (config.num_ranks > 0) config.threads_per_rank = threads_per_rank(config);
  auto ranks = make_ranks ? make_ranks(config) : make_cpu_ranks(config);
  if (!ranks.ok()) return ranks.status();

  auto checkpoint = Checkpoint::open(config.model_dir);
  if (!checkpoint.ok()) return checkpoint.status();
  const auto kv_cache_type = find_kv_cache_type(config, shape, **checkpoint);
  if (!kv_cache_type.ok()) return kv_cache_type.status();
  shape.kv_cache_type = *kv_cache_type;
  const auto kv_cache_bytes = find_kv_cache_bytes(config, shape, **checkpoint, *ranks);
  if (!kv_cache_bytes.ok()) return kv_cache_bytes.status();
  const auto num_blocks = count_blocks(config, shape, *kv_cache_bytes);
  if (!num_blocks.ok()) return num_blocks.status();
  shape.num_blocks = *num_blocks;
  auto impl = std::make_unique<Impl>(config, std::move(shape), *std::move(checkpoint), *std::move(ranks));
  if (absl::Status status = impl->make_models(); !status.ok()) return status;
  return std::unique_ptr<Stage>(new Stage(std::move(impl)));
}

absl::Status Stage::start_epoch(uint64_t epoch, StageLinks links, uint32_t num_blocks) {
  Impl& impl = *impl_;
  impl.links.close(absl::CancelledError(absl::StrCat("epoch ", epoch, " starts")));
  if (num_blocks < 1 || num_blocks > impl.shape.num_blocks) {
    return absl::InvalidArgumentError(absl::StrCat("epoch ", epoch, ": num_blocks must be in [1, ",
                                                   impl.shape.num_blocks, "], given ", num_blocks));
  }
  const auto num_ranks = static_cast<size_t>(impl.config.num_ranks);
  const size_t num_receiving = impl.is_first() ? 0 : num_ranks;
  const size_t num_sending = impl.is_last() ? 0 : num_ranks;
  if (links.from_previous.size() != num_receiving || links.to_next.size() != num_sending) {
    return absl::InvalidArgumentError(
        absl::StrCat("epoch ", epoch, ": needs ", num_receiving, " and ", num_sending,
                     " links from the previous and to the next stage, given ", links.from_previous.size(),
                     " and ", links.to_next.size()));
  }
  PlanLimits limits;
  limits.vocab_size = static_cast<uint32_t>(impl.shape.model.vocab_size);
  limits.max_model_len = static_cast<uint32_t>(impl.shape.model.max_model_len);
  limits.block_size = impl.config.block_size;
  limits.num_blocks = num_blocks;
  limits.max_batch_tokens = impl.config.max_batch_tokens;
  impl.states.reset(limits);
  impl.last_step.reset();
  impl.links.open(std::move(links), impl.backends);
  return absl::OkStatus();
}

absl::Status Stage::connect(Time deadline) {
  Impl& impl = *impl_;
  if (absl::Status status = impl.links.failure(); !status.ok()) return status;
  impl.threads.run([&](int rank) {
    if (absl::Status status = impl.connect_rank(rank, deadline); !status.ok()) impl.links.close(status);
  });
  return impl.links.failure();
}

StepResult Stage::execute(const BatchPlan& plan) {
  Impl& impl = *impl_;
  StepResult result;
  result.step = plan.step;
  const absl::Status status = impl.run(plan, result.samples);
  if (!status.ok()) {
    impl.links.close(status);
    result.samples.clear();
    result.error = absl::StrCat("stage ", impl.config.stage, ": ", std::string(status.message()));
  }
  impl.add_timing(result.timing);
  return result;
}

void Stage::abort_epoch() {
  impl_->links.close(absl::CancelledError("the epoch was aborted"));
}

}  // namespace octet::worker
