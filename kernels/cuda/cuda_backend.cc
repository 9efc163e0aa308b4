#include "kernels/cuda/cuda_backend.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <deque>
#include <span>
#include <vector>

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/deadline.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/graph_cache.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/nccl_peer.h"
#include "kernels/cuda/op_kernels.h"
#include "kernels/cuda/pack_weight.h"
#include "kernels/cuda/pinned_upload.h"
#include "kernels/cuda/rank_group.h"
#include "kernels/cuda/sample_plan.h"

namespace octet::kernels {
namespace {

using cuda::check;

constexpr int kLeastCapability = 80;     // of all
constexpr int kLeastFp8Capability = 89;  // of products of fp8
constexpr int kLooksBetweenHealthChecks = 1000;
constexpr int64_t kBucketRows = 64;            // of a deterministic product
constexpr int64_t kWorkspaceBytes = 32 << 20;  // what cuBLAS takes by default on sm_90

// Such as 90 for 9.0; nothing when the device does not answer.
std::optional<int> compute_capability(int device) {
  int major = 0;
  int minor = 0;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    cudaGetLastError();
    return std::nullopt;
  }
  return 10 * major + minor;
}
std::string capability_text(int capability) {
  return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

class DeviceBuffer final : public Buffer {
 public:
  explicit DeviceBuffer(void* memory) : memory_(memory) {}
  ~DeviceBuffer() override { cudaFree(memory_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  void* data() override { return memory_; }

 private:
  void* const memory_;
};

class Stream {
 public:
  explicit Stream(int device) {
    check(cudaSetDevice(device), "cudaSetDevice");
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(int rank, int device, std::shared_ptr<cuda::RankGroup> group, const CudaOptions& options)
      : rank_(rank),
        device_(device),
        group_(std::move(group)),
        is_deterministic_(options.determinism == Determinism::kDeterministic),
        step_timeout_(options.step_timeout),
        stream_(device) {
    check(cudaSetDevice(device), "cudaSetDevice");
    check(cudaDeviceGetAttribute(&num_multiprocessors_, cudaDevAttrMultiProcessorCount, device),
          "cudaDevAttrMultiProcessorCount");
    has_fp8_ = has_fp8_products(device);
  }
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;

  const char* name() const override { return "cuda"; }
  int rank() const override { return rank_; }
  int num_ranks() const override { return group_->num_ranks(); }
  bool all_agree(bool ok) override { return group_->all_agree(ok); }

  std::unique_ptr<Buffer> allocate(int64_t num_bytes) override {
    check(cudaSetDevice(device_), "cudaSetDevice");
    void* memory = nullptr;
    if (cudaMalloc(&memory, static_cast<size_t>(num_bytes)) != cudaSuccess) {
      cudaGetLastError();  // the caller's matter, and no error of the calls to come
      return nullptr;
    }
    if (num_bytes > 0) {
      check(cudaMemsetAsync(memory, 0, static_cast<size_t>(num_bytes), stream_.get()), "cudaMemset");
    }
    return std::make_unique<DeviceBuffer>(memory);
  }

  std::optional<DeviceMemory> memory() const override {
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    check(cudaSetDevice(device_), "cudaSetDevice");
    check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
    return DeviceMemory{static_cast<int64_t>(total_bytes), static_cast<int64_t>(free_bytes)};
  }

  std::optional<std::string> make_peer_id(PeerId& id) override { return cuda::make_peer_id(id); }
  std::unique_ptr<Peer> connect_peer(const PeerId& id, PeerRole role) override {
    return std::make_unique<cuda::NcclPeer>(id, role, device_, stream_.get());
  }

  void run_step(const std::function<void()>& step) override { graphs_.run(step); }

  bool has_host_memory() const override { return false; }
  void upload(void* device, const void* host, int64_t num_bytes) override {
    check(cudaSetDevice(device_), "cudaSetDevice");
    uploads_.put(device, num_bytes, 1, [&](char* to, int64_t first, int64_t count) {
      std::memcpy(to, static_cast<const char*>(host) + first, static_cast<size_t>(count));
    });
    synchronize();
  }
  void download(void* host, const void* device, int64_t num_bytes) override {
    check(
        cudaMemcpyAsync(host, device, static_cast<size_t>(num_bytes), cudaMemcpyDeviceToHost, stream_.get()),
        "download");
    synchronize();
  }
  void synchronize() override {
    int num_looks = 0;
    const auto is_done = [&] {
      if (cuda::is_ready(cudaStreamQuery(stream_.get()), "cudaStreamQuery")) return true;
      if (++num_looks % kLooksBetweenHealthChecks == 0) group_->check_health(rank_);
      return false;
    };
    cuda::wait_until(is_done, step_timeout_, [&] {
      return "rank " + std::to_string(rank_) + ": CUDA device " + std::to_string(device_) +
             ", or another rank that it waits for, has not answered";
    });
    on_their_way_.clear();
  }

 private:
  // What ops are told in host memory. Each has one place on the device: layer after layer brings the same.
  enum Staged {
    kTokens,
    kPositions,
    kSlots,
    kRows,
    kOffsets,
    kBlocks,
    kNarrow,
    kWide,
    kMerges,
    kSamples,
    kEdits,
    kMasks,
    kNumStaged
  };

  // The numbers, or records of them, on the device, until the next ones of the same kind. Copied only where
  // they differ from the last.
  template <typename Number>
  const Number* stage(Staged kind, std::span<const Number> numbers) {
    if (numbers.empty()) return nullptr;
    const auto bytes = std::as_bytes(numbers);
    Kept& kept = kept_[kind];
    if (!std::ranges::equal(kept.bytes, bytes)) {
      kept.bytes.assign(bytes.begin(), bytes.end());
      const std::vector<std::byte>& copy = on_their_way_.emplace_back(kept.bytes);
      void* const memory = grown(kept.device, static_cast<int64_t>(copy.size()), "positions");
      check(cudaMemcpyAsync(memory, copy.data(), copy.size(), cudaMemcpyHostToDevice, stream_.get()),
            "upload");
    }
    return static_cast<const Number*>(kept.device.memory->data());
  }
  template <typename Number>
  const Number* stage(Staged kind, const std::vector<Number>& numbers) {
    return stage(kind, std::span<const Number>(numbers));
  }

  void do_embedding(Tensor output, std::span<const int32_t> tokens, Tensor table,
                    int32_t first_token) override {
    cuda::embedding(queue_, output, stage(kTokens, tokens), table, first_token);
  }
  void do_layer_norm(Tensor output, Tensor input, Tensor weight, Tensor bias, float epsilon) override {
    cuda::layer_norm(queue_, output, input, {}, weight, bias, epsilon);
  }
  void do_add_and_layer_norm(Tensor output, Tensor residual, Tensor input, Tensor weight, Tensor bias,
                             float epsilon) override {
    cuda::layer_norm(queue_, output, residual, input, weight, bias, epsilon);
  }
  void do_linear(Tensor output, Tensor input, Tensor weight, Epilogue epilogue) override {
    cuda::linear(queue_, output, input, weight, epilogue);
  }
  std::optional<PackedWeight> do_pack(WeightFormat format, Tensor weight, Tensor scales) override {
    const DType type = element_type(format, weight.size(0), weight.size(1));
    PackedWeight packed = {.format = format,
                           .num_columns = weight.size(0),
                           .depth = weight.size(1),
                           .num_bytes = packed_bytes(format, weight.size(0), weight.size(1)),
                           .storage = nullptr};
    packed.storage = allocate(packed.num_bytes);
    if (packed.storage == nullptr) return std::nullopt;
    auto* const memory = static_cast<char*>(packed.storage->data());
    std::vector<float> column_scales(format == WeightFormat::kFloat8 ? static_cast<size_t>(weight.size(0))
                                                                     : 0);
    uploads_.put(memory, weight.size(0), weight.size(1) * size_of(type),
                 [&](char* to, int64_t first, int64_t count) {
                   cuda::pack_columns(format, weight, scales, type, first, count, to,
                                      column_scales.empty() ? nullptr : column_scales.data() + first);
                 });
    upload(memory + scales_offset(weight.size(0), weight.size(1), type), column_scales.data(),
           static_cast<int64_t>(column_scales.size() * sizeof(float)));
    return packed;
  }
  // What the elements of a packed weight are: fp8 where the device multiplies fp8, and the library matrices
  // of such sizes; else bf16, which holds fp8 exactly.
  DType element_type(WeightFormat format, int64_t num_columns, int64_t depth) const {
    const bool fits = num_columns % 16 == 0 && depth % 16 == 0;
    return format == WeightFormat::kFloat8 && has_fp8_ && fits ? DType::kFloat8E4M3 : DType::kBFloat16;
  }
  // Where the scales of a packed weight begin: after its elements, aligned.
  static int64_t scales_offset(int64_t num_columns, int64_t depth, DType type) {
    return (num_columns * depth * size_of(type) + 255) / 256 * 256;
  }
  int64_t packed_bytes(WeightFormat format, int64_t num_columns, int64_t depth) const override {
    const int64_t scale_bytes = format == WeightFormat::kFloat8 ? num_columns * size_of(DType::kFloat32) : 0;
    return scales_offset(num_columns, depth, element_type(format, num_columns, depth)) + scale_bytes;
  }
  void do_packed_linear(Tensor output, Tensor input, const PackedWeight& weight, Epilogue epilogue) override {
    const DType type = element_type(weight.format, weight.num_columns, weight.depth);
    const int64_t num_rows = is_deterministic_ ? rounded_up(input.size(0)) : input.size(0);
    void* const rounded = grown(rounded_, num_rows * weight.depth * size_of(type), "activations");
    const float* row_scales = nullptr;
    if (type == DType::kFloat8E4M3) {
      auto* const scales =
          static_cast<float*>(grown(row_scales_, input.size(0) * size_of(DType::kFloat32), "scales"));
      cuda::quantise_rows(queue_, rounded, scales, input);
      row_scales = scales;
    } else {
      cuda::round_rows(queue_, rounded, input);
    }
    const char* const memory = static_cast<const char*>(weight.storage->data());
    if (is_deterministic_) {
      multiply_in_buckets(output, static_cast<const char*>(rounded), memory, weight, type);
    } else {
      gemm_.multiply({.num_tokens = input.size(0),
                      .num_columns = weight.num_columns,
                      .depth = weight.depth,
                      .output_stride = output.row_stride(),
                      .type = type},
                     output.data<float>(), rounded, memory, queue_);
    }
    const char* const scales = memory + scales_offset(weight.num_columns, weight.depth, type);
    const bool has_scales = weight.format == WeightFormat::kFloat8;
    cuda::finish_product(queue_, output, row_scales,
                         has_scales ? reinterpret_cast<const float*>(scales) : nullptr, epilogue);
  }
  static int64_t rounded_up(int64_t num_rows) {
    return (num_rows + kBucketRows - 1) / kBucketRows * kBucketRows;
  }
  // Products of kBucketRows rows each, so that the library's choice of an algorithm, and with it a row's
  // bits, is the same for all. The last rows of the last one are whatever was in memory, and are thrown away.
  void multiply_in_buckets(Tensor output, const char* input, const char* elements, const PackedWeight& weight,
                           DType type) {
    const cuda::GemmShape shape = {.num_tokens = kBucketRows,
                                   .num_columns = weight.num_columns,
                                   .depth = weight.depth,
                                   .output_stride = weight.num_columns,
                                   .type = type};
    const int64_t num_rows = output.size(0);
    const int64_t num_bytes = rounded_up(num_rows) * weight.num_columns * size_of(DType::kFloat32);
    auto* const padded = static_cast<float*>(grown(padded_, num_bytes, "products"));
    for (int64_t first = 0; first < num_rows; first += kBucketRows) {
      gemm_.multiply(shape, padded + first * weight.num_columns, input + first * weight.depth * size_of(type),
                     elements, queue_);
    }
    // As gathering one rank's columns does: from rows side by side to the output's.
    cuda::gather_columns(queue_, output, padded, 0, weight.num_columns, 1);
  }
  void do_add(Tensor output, Tensor input) override { cuda::add(queue_, output, input); }
  void do_rotary_and_kv_write(Tensor query, Tensor key, Tensor value, std::span<const int32_t> positions,
                              std::span<const int32_t> slots, const RotaryTable& table,
                              const KvLayer& kv) override {
    cuda::rotary_and_kv_write(queue_, query, key, value, stage(kPositions, positions), stage(kSlots, slots),
                              table, kv);
  }
  void do_paged_attention(Tensor output, Tensor query, const KvLayer& kv,
                          std::span<const AttentionChunk> chunks) override {
    blocks_.clear();
    for (const AttentionChunk& chunk : chunks) {
      blocks_.insert(blocks_.end(), chunk.block_table.begin(), chunk.block_table.end());
    }
    if (!cuda::has_mma_attention(kv)) return attend_plainly(output, query, kv, chunks);
    cuda::plan_attention(chunks, static_cast<int32_t>(kv.keys.size(2)),
                         static_cast<int32_t>(query.size(1) / kv.keys.size(2)), num_multiprocessors_, plan_);
    if (plan_.wide.empty()) cuda::round_up(plan_);  // decodes, whose steps are to be graphs
    const int64_t num_bytes = cuda::attention_partial_bytes(kv, plan_.num_partials);
    cuda::paged_attention_mma(
        queue_, output, query, kv,
        {.narrow = stage(kNarrow, plan_.narrow),
         .num_narrow = plan_.narrow.size(),
         .wide = stage(kWide, plan_.wide),
         .num_wide = plan_.wide.size(),
         .merges = stage(kMerges, plan_.merges),
         .num_merges = plan_.merges.size(),
         .blocks = stage(kBlocks, blocks_),
         .partials = num_bytes == 0 ? nullptr
                                    : static_cast<float*>(grown(partials_, num_bytes, "partial attention"))});
  }
  // One row at a time, for shapes and types that tensor cores have no kernel for.
  void attend_plainly(Tensor output, Tensor query, const KvLayer& kv,
                      std::span<const AttentionChunk> chunks) {
    positions_.clear();
    offsets_.clear();
    int32_t first_block = 0;
    for (const AttentionChunk& chunk : chunks) {
      for (int32_t row = 0; row < chunk.num_rows; ++row) {
        positions_.push_back(chunk.start_position + row);
        offsets_.push_back(first_block);
      }
      first_block += static_cast<int32_t>(chunk.block_table.size());
    }
    cuda::paged_attention(queue_, output, query, kv,
                          {.positions = stage(kPositions, positions_),
                           .offsets = stage(kOffsets, offsets_),
                           .blocks = stage(kBlocks, blocks_)});
  }
  void do_gather_rows(Tensor output, Tensor input, std::span<const int32_t> rows) override {
    cuda::gather_rows(queue_, output, input, stage(kRows, rows));
  }
  void do_sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampledToken> results) override {
    cuda::plan_samples(rows, samples_);
    const auto num_saved = static_cast<int64_t>(samples_.edits.size());
    row_results_.resize(results.size());
    const auto result_bytes = static_cast<int64_t>(row_results_.size() * sizeof(cuda::RowResult));
    auto* const on_device = static_cast<cuda::RowResult*>(grown(sampled_, result_bytes, "sampled tokens"));
    cuda::sample(queue_, logits,
                 {.rows = stage(kSamples, samples_.rows),
                  .edits = stage(kEdits, samples_.edits),
                  .masks = stage(kMasks, samples_.masks),
                  .saved = num_saved == 0 ? nullptr
                                          : static_cast<float*>(
                                                grown(saved_, num_saved * size_of(DType::kFloat32), "edits")),
                  .results = on_device});
    download(row_results_.data(), on_device, result_bytes);
    std::ranges::transform(row_results_, results.begin(), cuda::sampled_token);
  }
  void do_all_reduce(Tensor data) override {
    if (!is_deterministic_ || num_ranks() == 1) {
      return group_->all_reduce(rank_, data.data<float>(), data.num_elements(), queue_);
    }
    const int64_t count = data.num_elements();
    auto* const gathered =
        static_cast<float*>(grown(gathered_, num_ranks() * count * size_of(DType::kFloat32), "partial sums"));
    group_->all_gather(rank_, data.data<float>(), gathered, count, queue_);
    cuda::sum_ranks(queue_, data.data<float>(), gathered, count, num_ranks());
  }
  void do_all_gather_columns(Tensor output, Tensor input) override {
    if (input.size(0) == 1) {  // of which the ranks' parts lie side by side as they are gathered
      return group_->all_gather(rank_, input.data<float>(), output.data<float>(), input.size(1), queue_);
    }
    const int64_t count = (input.size(0) - 1) * input.row_stride() + input.size(1);
    const int64_t num_bytes = num_ranks() * count * size_of(DType::kFloat32);
    auto* const gathered = static_cast<float*>(grown(gathered_, num_bytes, "logits"));
    group_->all_gather(rank_, input.data<float>(), gathered, count, queue_);
    cuda::gather_columns(queue_, output, gathered, count, input.row_stride(), num_ranks());
  }

  // Memory that grows to the largest call and stays.
  struct StagingBuffer {
    std::unique_ptr<Buffer> memory;
    int64_t num_bytes = 0;
  };
  void* grown(StagingBuffer& buffer, int64_t num_bytes, const char* what) {
    if (buffer.num_bytes < num_bytes) buffer = {allocate(num_bytes), num_bytes};
    OCTET_CHECK(buffer.memory != nullptr, "no device memory for ", num_bytes, " bytes of ", what);
    return buffer.memory->data();
  }

  const int rank_;
  const int device_;
  const std::shared_ptr<cuda::RankGroup> group_;
  const bool is_deterministic_;
  const cuda::Timeout step_timeout_;
  const Stream stream_;
  cuda::Queue queue_{stream_.get()};
  cuda::GraphCache graphs_{queue_};
  struct Kept {
    std::vector<std::byte> bytes;  // what is on the device
    StagingBuffer device;
  };
  std::array<Kept, kNumStaged> kept_;
  cuda::PinnedUpload uploads_{stream_.get(), step_timeout_};
  std::deque<std::vector<std::byte>> on_their_way_;                      // to the device, until synchronize()
  const std::unique_ptr<Buffer> workspace_ = allocate(kWorkspaceBytes);  // of gemm_
  cuda::Gemm gemm_{workspace_ == nullptr ? nullptr : workspace_->data(),
                   workspace_ == nullptr ? 0 : static_cast<size_t>(kWorkspaceBytes)};
  StagingBuffer rounded_;     // the activations of the running packed linear(); kept for its memory
  StagingBuffer row_scales_;  // of them, where they are fp8; kept for its memory
  StagingBuffer padded_;      // their products, where they are deterministic; kept for its memory
  StagingBuffer gathered_;    // of the running all_gather_columns; kept for its memory
  StagingBuffer partials_;    // of the running paged_attention; all kept for their memory
  StagingBuffer saved_;       // the logits that the running sample() edits; kept for its memory
  StagingBuffer sampled_;     // its results; kept for its memory
  cuda::AttentionPlan plan_;
  cuda::SamplePlan samples_;
  std::vector<cuda::RowResult> row_results_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> offsets_;
  std::vector<int32_t> blocks_;
  int num_multiprocessors_ = 1;
  bool has_fp8_ = false;
};

}  // namespace

namespace {

// Such as 13.0, of what CUDA writes as 13000.
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string driver_problem() {
  int driver = 0;
  int runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (driver == 0) return "this machine has no GPU that can be used: no NVIDIA driver is loaded";
  return "the NVIDIA driver is too old: it has CUDA " + version_text(driver) + ", and this build needs " +
         version_text(runtime);
}

}  // namespace

CudaDevices count_cuda_devices() {
  CudaDevices found;
  const cudaError_t error = cudaGetDeviceCount(&found.num_devices);
  if (error == cudaSuccess) return found;
  cudaGetLastError();
  if (error == cudaErrorInsufficientDriver) return {0, driver_problem()};
  return {0, std::string("this machine has no GPU that can be used: ") + cudaGetErrorString(error)};
}

bool has_fp8_products(int device) {
  return compute_capability(device).value_or(0) >= kLeastFp8Capability;
}

std::optional<std::string> find_cuda_problem(int device) {
  const CudaDevices found = count_cuda_devices();
  if (!found.problem.empty()) return found.problem;
  if (device < 0 || device >= found.num_devices) {
    return "CUDA device " + std::to_string(device) + " is asked for, and this process sees " +
           std::to_string(found.num_devices);
  }
  const std::optional<int> capability = compute_capability(device);
  if (!capability) return "CUDA device " + std::to_string(device) + " does not answer";
  if (*capability < kLeastCapability) {
    return "CUDA device " + std::to_string(device) + " has compute capability " +
           capability_text(*capability) + ", at least " + capability_text(kLeastCapability) + " is needed";
  }
  return std::nullopt;
}

std::vector<std::unique_ptr<Backend>> make_cuda_ranks(const std::vector<int>& devices,
                                                      const CudaOptions& options) {
  for (const int device : devices) {
    const std::optional<std::string> problem = find_cuda_problem(device);
    OCTET_CHECK(!problem.has_value(), *problem);
  }
  const auto group = std::make_shared<cuda::RankGroup>(devices, options.join_timeout, options.step_timeout);
  std::vector<std::unique_ptr<Backend>> ranks;
  ranks.reserve(devices.size());
  for (const int device : devices) {
    ranks.push_back(std::make_unique<CudaBackend>(static_cast<int>(ranks.size()), device, group, options));
  }
  return ranks;
}

}  // namespace octet::kernels
