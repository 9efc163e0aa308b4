// The ops of a CPU rank: each turns its tensors into plain arguments and divides the work between the rank's
// threads.
#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/cpu/cpu_backend_impl.h"
#include "kernels/cpu/cpu_topology.h"
#include "kernels/cpu/host_buffer.h"
#include "kernels/cpu/packed_layout.h"

namespace octet::kernels {
namespace {

bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_avx512_bf16() {
  return has_avx512() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("avx512vbmi");
}

const CpuKernels& select_kernels(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx2:
      return kAvx2Kernels;
    case CpuIsa::kAvx512:
      return kAvx512Kernels;
    case CpuIsa::kAvx512Bf16:
      return kAvx512Bf16Kernels;
    case CpuIsa::kBest:
      break;
  }
  if (has_avx512_bf16()) return kAvx512Bf16Kernels;
  return has_avx512() ? kAvx512Kernels : kAvx2Kernels;
}

// A thread should have this many multiplications or element updates to do, or it is not worth waking.
constexpr int64_t kMinWorkPerThread = 16 * 1024;

int64_t min_part(int64_t work_per_item) {
  return std::max<int64_t>(1, kMinWorkPerThread / std::max<int64_t>(1, work_per_item));
}

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

CpuIsa cpu_isa_named(std::string_view name) {
  if (name == "avx2") return CpuIsa::kAvx2;
  if (name == "avx512") return CpuIsa::kAvx512;
  return name == "avx512_bf16" ? CpuIsa::kAvx512Bf16 : CpuIsa::kBest;
}

std::optional<std::string> find_problem(const CpuOptions& options) {
  if (options.num_ranks < 1 || options.num_ranks > kMaxCpuRanks) {
    return "the CPU backend has 1 to " + std::to_string(kMaxCpuRanks) + " ranks, not " +
           std::to_string(options.num_ranks);
  }
  if (options.threads_per_rank < 1 || options.threads_per_rank > kMaxCpuThreadsPerRank) {
    return "a CPU rank has 1 to " + std::to_string(kMaxCpuThreadsPerRank) + " threads, not " +
           std::to_string(options.threads_per_rank);
  }
  if (!has_avx2()) return "the CPU backend needs a processor with AVX2 and FMA, and this one lacks them";
  if (options.isa == CpuIsa::kAvx512 && !has_avx512()) {
    return "this processor lacks AVX-512 (F, BW, DQ, VL); the CPU backend can use AVX2 here";
  }
  if (options.isa == CpuIsa::kAvx512Bf16 && !has_avx512_bf16()) {
    return std::string("this processor lacks AVX-512 BF16, VNNI or VBMI; the CPU backend can use ") +
           (has_avx512() ? "AVX-512" : "AVX2") + " here";
  }
  return std::nullopt;
}

std::vector<std::unique_ptr<Backend>> make_cpu_ranks(const CpuOptions& options) {
  const std::optional<std::string> problem = find_problem(options);
  OCTET_CHECK(!problem.has_value(), *problem);
  const int num_threads = options.num_ranks * options.threads_per_rank;
  const bool own_cpus = num_threads <= static_cast<int>(usable_cpus().size());
  const auto communicator = std::make_shared<Communicator>(options.num_ranks, own_cpus);
  // The CPUs of a rank's threads, or none.
  const auto cpus_of = [&](int rank) {
    std::vector<int> cpus;
    for (int thread = 0; !options.cpus.empty() && thread < options.threads_per_rank; ++thread) {
      const int i = rank * options.threads_per_rank + thread;
      cpus.push_back(options.cpus[static_cast<size_t>(i) % options.cpus.size()]);
    }
    return cpus;
  };
  std::vector<std::unique_ptr<Backend>> ranks;
  ranks.reserve(static_cast<size_t>(options.num_ranks));
  for (int rank = 0; rank < options.num_ranks; ++rank) {
    ranks.push_back(std::make_unique<CpuBackend>(rank, select_kernels(options.isa), communicator,
                                                 options.threads_per_rank, own_cpus, cpus_of(rank)));
  }
  return ranks;
}

CpuBackend::CpuBackend(int rank, const CpuKernels& kernels, std::shared_ptr<Communicator> communicator,
                       int num_threads, bool own_cpus, const std::vector<int>& cpus)
    : rank_(rank),
      kernels_(kernels),
      communicator_(std::move(communicator)),
      threads_(num_threads, own_cpus, cpus) {}

std::unique_ptr<Buffer> CpuBackend::allocate(int64_t num_bytes) {
  return allocate_host_buffer(num_bytes);
}

void CpuBackend::do_embedding(Tensor output, std::span<const int32_t> tokens, Tensor table,
                              int32_t first_token) {
  const EmbeddingArgs args = {.output = output.data<float>(),
                              .tokens = tokens.data(),
                              .table = table.data<void>(),
                              .table_type = table.dtype(),
                              .output_stride = output.row_stride(),
                              .table_stride = table.row_stride(),
                              .num_table_rows = table.size(0),
                              .hidden = table.size(1),
                              .first_token = first_token};
  threads_.run(output.size(0), min_part(args.hidden),
               [&](int64_t first, int64_t last, int) { kernels_.embedding(args, first, last); });
}

namespace {

LayerNormArgs layer_norm_args(Tensor output, Tensor input, Tensor weight, Tensor bias, float epsilon) {
  return {.output = output.data<float>(),
          .input = input.data<float>(),
          .weight = weight.data<void>(),
          .bias = bias.data<void>(),
          .weight_type = weight.dtype(),
          .bias_type = bias.dtype(),
          .output_stride = output.row_stride(),
          .input_stride = input.row_stride(),
          .hidden = input.size(1),
          .epsilon = epsilon};
}

}  // namespace

void CpuBackend::do_layer_norm(Tensor output, Tensor input, Tensor weight, Tensor bias, float epsilon) {
  const LayerNormArgs args = layer_norm_args(output, input, weight, bias, epsilon);
  threads_.run(input.size(0), min_part(args.hidden),
               [&](int64_t first, int64_t last, int) { kernels_.layer_norm(args, first, last); });
}

// A row at a time, so that the norm finds it in the cache.
void CpuBackend::do_add_and_layer_norm(Tensor output, Tensor residual, Tensor input, Tensor weight,
                                       Tensor bias, float epsilon) {
  const LayerNormArgs args = layer_norm_args(output, residual, weight, bias, epsilon);
  threads_.run(input.size(0), min_part(args.hidden), [&](int64_t first, int64_t last, int) {
    for (int64_t t = first; t < last; ++t) {
      kernels_.add(residual.data<float>() + t * residual.row_stride(),
                   input.data<float>() + t * input.row_stride(), args.hidden);
      kernels_.layer_norm(args, t, t + 1);
    }
  });
}

void CpuBackend::do_linear(Tensor output, Tensor input, Tensor weight, Epilogue epilogue) {
  const LinearArgs args = {.output = output.data<float>(),
                           .input = input.data<float>(),
                           .weight = weight.data<void>(),
                           .weight_type = weight.dtype(),
                           .output_stride = output.row_stride(),
                           .input_stride = input.row_stride(),
                           .weight_stride = weight.row_stride(),
                           .num_rows = input.size(0),
                           .depth = input.size(1),
                           .epilogue = epilogue};
  threads_.run(weight.size(0), min_part(args.num_rows * args.depth),
               [&](int64_t first, int64_t last, int) { kernels_.linear(args, first, last); });
}

int64_t CpuBackend::packed_bytes(WeightFormat format, int64_t num_columns, int64_t depth) const {
  return bytes_of_packed(format, num_columns, depth);
}

std::optional<PackedWeight> CpuBackend::do_pack(WeightFormat format, Tensor weight, Tensor scales) {
  PackedWeight packed = {.format = format,
                         .num_columns = weight.size(0),
                         .depth = weight.size(1),
                         .num_bytes = packed_bytes(format, weight.size(0), weight.size(1)),
                         .storage = nullptr};
  packed.storage = allocate_host_buffer(packed.num_bytes, PageSize::kHuge);
  if (packed.storage == nullptr) return std::nullopt;
  const PackArgs args = {.packed = static_cast<char*>(packed.storage->data()),
                         .weight = weight.data<void>(),
                         .weight_type = weight.dtype(),
                         .weight_stride = weight.row_stride(),
                         .num_columns = packed.num_columns,
                         .depth = packed.depth,
                         .scales = scales.data<float>(),
                         .num_scales = scales.num_elements(),
                         .format = format};
  // Divided as do_packed_linear() divides it, so that a thread first touches the memory that it will read.
  threads_.run(count_panels(packed.num_columns), 1,
               [&](int64_t first, int64_t last, int) { kernels_.pack(args, first, last); });
  return packed;
}

void CpuBackend::do_packed_linear(Tensor output, Tensor input, const PackedWeight& weight,
                                  Epilogue epilogue) {
  char* const scratch = packed_scratch_.grown(threads_.num_threads() * kPackedScratchBytes);
  for (int64_t first = 0; first < input.size(0); first += kMaxPackedRows) {
    const int64_t count = std::min(kMaxPackedRows, input.size(0) - first);
    const RoundedRows rounded = round_rows(input.rows(first, count), weight.format);
    const PackedLinearArgs args = {.output = output.rows(first, count).data<float>(),
                                   .packed = static_cast<const char*>(weight.storage->data()),
                                   .input = rounded,
                                   .output_stride = output.row_stride(),
                                   .num_columns = weight.num_columns,
                                   .epilogue = epilogue};
    // Panels are taken some at a time, as many as the kernel reads side by side with one row.
    const int64_t num_panels = count_panels(weight.num_columns);
    const int64_t at_once = std::clamp<int64_t>(num_panels / threads_.num_threads(), 1, kMaxPanelsAtOnce);
    threads_.run(divide_up(num_panels, at_once), min_part(count * weight.depth * kPanelColumns * at_once),
                 [&](int64_t begin, int64_t end, int thread) {
                   kernels_.packed_linear(args, begin * at_once, std::min(end * at_once, num_panels),
                                          scratch + thread * kPackedScratchBytes);
                 });
  }
}

RoundedRows CpuBackend::round_rows(Tensor input, WeightFormat format) {
  const int64_t num_rows = input.size(0);
  const int64_t depth = divide_up(input.size(1), kBlockDepth) * kBlockDepth;
  const int64_t num_groups = num_rows * depth / kGroupDepth;
  const RoundedRows rows = {.elements = rounded_.grown(num_rows * depth * kMaxRoundedBytes),
                            .scales = reinterpret_cast<float*>(rounded_scales_.grown(num_groups * 4)),
                            .offsets = reinterpret_cast<int32_t*>(rounded_offsets_.grown(num_groups * 4)),
                            .num_rows = num_rows,
                            .depth = input.size(1),
                            .format = format};
  const int64_t num_blocks = kernels_.count_row_blocks(format, num_rows);
  threads_.run(num_blocks, min_part(divide_up(num_rows, num_blocks) * depth),
               [&](int64_t first, int64_t last, int) {
                 kernels_.round_rows(input.data<float>(), input.row_stride(), rows, first, last);
               });
  return rows;
}

void CpuBackend::do_add(Tensor output, Tensor input) {
  const int64_t hidden = input.size(1);
  threads_.run(input.size(0), min_part(hidden), [&](int64_t first, int64_t last, int) {
    for (int64_t t = first; t < last; ++t) {
      kernels_.add(output.data<float>() + t * output.row_stride(),
                   input.data<float>() + t * input.row_stride(), hidden);
    }
  });
}

void CpuBackend::do_rotary_and_kv_write(Tensor query, Tensor key, Tensor value,
                                        std::span<const int32_t> positions, std::span<const int32_t> slots,
                                        const RotaryTable& table, const KvLayer& kv) {
  const RotaryArgs args = {.query = query.data<float>(),
                           .key = key.data<float>(),
                           .value = value.data<float>(),
                           .positions = positions.data(),
                           .slots = slots.data(),
                           .cosines = table.cosines.data<float>(),
                           .sines = table.sines.data<float>(),
                           .cached_keys = kv.keys.data<void>(),
                           .cached_values = kv.values.data<void>(),
                           .cache_type = kv.keys.dtype(),
                           .num_heads = query.size(1),
                           .num_kv_heads = key.size(1),
                           .head_dim = query.size(2),
                           .half = table.cosines.size(1)};
  threads_.run(query.size(0), min_part(args.head_dim * (args.num_heads + 2 * args.num_kv_heads)),
               [&](int64_t first, int64_t last, int) { kernels_.rotary_and_kv_write(args, first, last); });
}

void CpuBackend::do_paged_attention(Tensor output, Tensor query, const KvLayer& kv,
                                    std::span<const AttentionChunk> chunks) {
  const AttentionArgs args = {.output = output.data<float>(),
                              .query = query.data<float>(),
                              .keys = kv.keys.data<void>(),
                              .values = kv.values.data<void>(),
                              .num_heads = query.size(1),
                              .num_kv_heads = kv.keys.size(2),
                              .head_dim = query.size(2),
                              .block_size = kv.keys.size(1),
                              .scale = 1.0f / std::sqrt(static_cast<float>(query.size(2)))};
  const int64_t group = args.num_heads / args.num_kv_heads;
  // A tile with all heads of a KV head reads its keys once; smaller ones keep all threads busy with a small
  // batch.
  constexpr int64_t kSmallTileHeads = 4;
  make_tiles(args.num_heads, args.num_kv_heads, std::min(group, kMaxTileQueries), chunks);
  if (threads_.num_threads() > 1 && static_cast<int64_t>(tiles_.size()) < threads_.num_threads()) {
    make_tiles(args.num_heads, args.num_kv_heads, std::min(group, kSmallTileHeads), chunks);
  }
  const int64_t thread_bytes = divide_up(args.head_dim, kLanes) * kLanes * kAttentionScratchBytes;
  char* const scratch = attention_scratch_.grown(threads_.num_threads() * thread_bytes);
  const auto attend =
      kv.keys.dtype() == DType::kBFloat16 ? kernels_.paged_attention_bf16 : kernels_.paged_attention;
  threads_.run(static_cast<int64_t>(tiles_.size()), 1, [&](int64_t first, int64_t last, int thread) {
    attend(args, tiles_.data() + first, last - first, scratch + thread * thread_bytes);
  });
}

void CpuBackend::make_tiles(int64_t num_heads, int64_t num_kv_heads, int64_t heads_per_tile,
                            std::span<const AttentionChunk> chunks) {
  const int64_t group = num_heads / num_kv_heads;
  const int64_t rows_per_tile = kMaxTileQueries / heads_per_tile;
  tiles_.clear();
  for (const AttentionChunk& chunk : chunks) {
    for (int64_t row = 0; row < chunk.num_rows; row += rows_per_tile) {
      for (int64_t kv_head = 0; kv_head < num_kv_heads; ++kv_head) {
        for (int64_t head = 0; head < group; head += heads_per_tile) {
          tiles_.push_back({.first_row = chunk.first_row + row,
                            .num_rows = std::min(rows_per_tile, chunk.num_rows - row),
                            .start_position = chunk.start_position + row,
                            .first_head = kv_head * group + head,
                            .num_heads = std::min(heads_per_tile, group - head),
                            .block_table = chunk.block_table.data()});
        }
      }
    }
  }
}

void CpuBackend::do_all_reduce(Tensor data) {
  communicator_->all_reduce(rank_, data, kernels_);
}

void CpuBackend::do_all_gather_columns(Tensor output, Tensor input) {
  communicator_->all_gather_columns(rank_, output, input);
}

}  // namespace octet::kernels
