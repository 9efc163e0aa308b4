// One rank of the CPU backend. Private to kernels/cpu: others make ranks with cpu_backend.h.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/communicator.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/host_buffer.h"
#include "kernels/cpu/thread_group.h"

namespace octet::kernels {

// Memory for an op's intermediate results, aligned to 64 bytes; it grows to the largest call and stays.
class Scratch {
 public:
  char* grown(int64_t num_bytes) {
    if (num_bytes > num_bytes_) {
      buffer_ = allocate_host_buffer(num_bytes);
      OCTET_CHECK(buffer_ != nullptr, "no memory for ", num_bytes, " bytes of intermediate results");
      num_bytes_ = num_bytes;
    }
    return num_bytes > 0 ? static_cast<char*>(buffer_->data()) : nullptr;
  }

 private:
  std::unique_ptr<Buffer> buffer_;
  int64_t num_bytes_ = 0;
};

// Room for one row of the vocabulary, of the thread that samples it.
struct SampleWorkspace {
  std::vector<float> logits;         // [vocab_size], edited
  std::vector<double> weights;       // [vocab_size], not normalised probabilities
  std::vector<uint32_t> candidates;  // at most vocab_size
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(int rank, const CpuKernels& kernels, std::shared_ptr<Communicator> communicator, int num_threads,
             bool own_cpus, const std::vector<int>& cpus);

  const char* name() const override { return kernels_.name; }
  int rank() const override { return rank_; }
  int num_ranks() const override { return communicator_->num_ranks(); }
  std::unique_ptr<Buffer> allocate(int64_t num_bytes) override;
  bool all_agree(bool ok) override { return communicator_->all_agree(rank_, ok); }
  int64_t packed_bytes(WeightFormat format, int64_t num_columns, int64_t depth) const override;

 private:
  void do_embedding(Tensor output, std::span<const int32_t> tokens, Tensor table,
                    int32_t first_token) override;
  void do_layer_norm(Tensor output, Tensor input, Tensor weight, Tensor bias, float epsilon) override;
  void do_add_and_layer_norm(Tensor output, Tensor residual, Tensor input, Tensor weight, Tensor bias,
                             float epsilon) override;
  void do_linear(Tensor output, Tensor input, Tensor weight, Epilogue epilogue) override;
  std::optional<PackedWeight> do_pack(WeightFormat format, Tensor weight, Tensor scales) override;
  void do_packed_linear(Tensor output, Tensor input, const PackedWeight& weight, Epilogue epilogue) override;
  void do_add(Tensor output, Tensor input) override;
  void do_rotary_and_kv_write(Tensor query, Tensor key, Tensor value, std::span<const int32_t> positions,
                              std::span<const int32_t> slots, const RotaryTable& table,
                              const KvLayer& kv) override;
  void do_paged_attention(Tensor output, Tensor query, const KvLayer& kv,
                          std::span<const AttentionChunk> chunks) override;
  void do_gather_rows(Tensor output, Tensor input, std::span<const int32_t> rows) override;
  void do_sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampledToken> results) override;
  void do_all_reduce(Tensor data) override;
  void do_all_gather_columns(Tensor output, Tensor input) override;

  // The rows in rounded_ and its neighbours, until the next call.
  RoundedRows round_rows(Tensor input, WeightFormat format);

  // Fills tiles_: each chunk's rows and heads, heads_per_tile heads of a KV head in a tile.
  void make_tiles(int64_t num_heads, int64_t num_kv_heads, int64_t heads_per_tile,
                  std::span<const AttentionChunk> chunks);

  const int rank_;
  const CpuKernels& kernels_;
  const std::shared_ptr<Communicator> communicator_;
  ThreadGroup threads_;
  std::vector<AttentionTile> tiles_;                // of the running paged_attention; kept for its capacity
  Scratch attention_scratch_;                       // [num_threads, padded head_dim, kAttentionScratchBytes]
  Scratch rounded_;                                 // the activations of the running packed linear()
  Scratch rounded_scales_;                          // of int8 activations
  Scratch rounded_offsets_;                         // the same
  Scratch packed_scratch_;                          // [num_threads, kPackedScratchBytes]
  std::vector<SampleWorkspace> sample_workspaces_;  // [num_threads] of sample()
};

}  // namespace octet::kernels
