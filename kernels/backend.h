// Everything a rank computes, on one interface for every device. Each op checks its shapes once (backend.cc),
// returns at once when there is nothing to do, and dispatches to cpu/<op>.cc or cuda/<op>.cu of the same
// name.
//
// Rows do not see each other: an op computes one token's row with the same order of additions whatever else
// is in the batch, so a row's bits depend on its own values only. (Products on GPUs do so only where they are
// deterministic, see cuda/cuda_backend.h.)
//
// One Backend is one rank: one GPU and its stream, or one group of CPU threads. It is called from one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "kernels/packed_weight.h"
#include "kernels/peer.h"
#include "kernels/sample_row.h"
#include "kernels/tensor.h"

namespace octet::kernels {

// Device memory that a Tensor may view, 64-byte aligned and zeroed; freed with its owner.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual void* data() = 0;
};

// Of a device with memory of its own.
struct DeviceMemory {
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;
};

// What linear() does to each output element after the dot product.
enum class Epilogue {
  kNone,
  kSquaredRelu,  // max(x, 0)^2
};

// One layer's keys and values in blocks of the paged KV cache.
struct KvLayer {
  Tensor keys;    // [num_blocks, block_size, num_kv_heads, head_dim] fp32 or bf16
  Tensor values;  // the same
};

// The rows of a batch that belong to one sequence: a chunk of prefill, or one decode.
struct AttentionChunk {
  int32_t first_row = 0;
  int32_t num_rows = 0;
  int32_t start_position = 0;            // position of first_row in its sequence; it sees positions 0..itself
  std::span<const int32_t> block_table;  // [ceil((start_position + num_rows) / block_size)] block ids
};

// Cosines and sines of the rotary embedding, made once for all positions, see rotary_table.h.
struct RotaryTable {
  Tensor cosines;                   // [max_positions, rotary_dim / 2] fp32
  Tensor sines;                     // the same
  std::shared_ptr<Buffer> storage;  // what both view
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual const char* name() const = 0;
  virtual int rank() const = 0;
  virtual int num_ranks() const = 0;

  // Zeroed memory of the device; nullptr when there is not enough of it. Large buffers take physical memory
  // only where they are touched, where the device can do that (the CPU can).
  virtual std::unique_ptr<Buffer> allocate(int64_t num_bytes) = 0;

  // Whether the host may read and write the device's memory itself, as soon as an op has returned. If not,
  // ops run on after they returned, and the host uses what follows. A tensor of a checkpoint that is mapped
  // into host memory can be an operand only if this is true.
  virtual bool has_host_memory() const { return true; }
  // Copy num_bytes to and from the device's memory, after all ops before; done when they return.
  virtual void upload(void* device, const void* host, int64_t num_bytes);
  virtual void download(void* host, const void* device, int64_t num_bytes);

  // Returns when all ops before are done.
  virtual void synchronize() {}

  // Of the rank's device now; nothing where the host's memory is the device's.
  virtual std::optional<DeviceMemory> memory() const { return std::nullopt; }

  // Where !has_host_memory(): a connection to a rank of another stage. One end makes an id, and both connect
  // with it. make_peer_id() returns what went wrong, or nothing; connect_peer() waits for nobody, as
  // Peer::wait_until_connected() does. The backend outlives the peer.
  virtual std::optional<std::string> make_peer_id(PeerId& id);
  virtual std::unique_ptr<Peer> connect_peer(const PeerId& id, PeerRole role);

  // Runs a step, which calls ops that launch and nothing that waits. A step that comes again with the same
  // shapes may be cheaper so; it may be called more than once.
  virtual void run_step(const std::function<void()>& step) { step(); }

  // Whether every rank of the stage passed true. A collective: each rank calls it, in the same order among
  // the other collectives. With it ranks act alike on what only some of them saw, such as a failed receive.
  virtual bool all_agree(bool ok) = 0;

  // output[t, :] = table[tokens[t] - first_token, :] where the token lies in [first_token, first_token + V),
  // else 0. output: [T, H] fp32; tokens: [T]; table: [V, H] bf16 or fp32.
  void embedding(Tensor output, std::span<const int32_t> tokens, Tensor table, int32_t first_token);

  // LayerNorm1P: output[t, i] = (input[t, i] - mean) / sqrt(variance + epsilon) * (weight[i] + 1) + bias[i],
  // with biased variance; weight + 1 is added in fp32 (as NeMo does). output, input: [T, H] fp32; weight,
  // bias: [H] bf16 or fp32. output must not alias input.
  void layer_norm(Tensor output, Tensor input, Tensor weight, Tensor bias, float epsilon);

  // residual[t, i] += input[t, i]; output = layer_norm(residual): add() and layer_norm() in one pass, with
  // their bits. All [T, H] fp32, none aliasing another.
  void add_and_layer_norm(Tensor output, Tensor residual, Tensor input, Tensor weight, Tensor bias,
                          float epsilon);

  // output[t, n] = epilogue(sum_k input[t, k] * weight[n, k]). output: [T, N] fp32; input: [T, K] fp32;
  // weight: [N, K] bf16 or fp32, rows may be strided. Sums in fp32.
  void linear(Tensor output, Tensor input, Tensor weight, Epilogue epilogue = Epilogue::kNone);

  // The weight in the layout that linear() reads fastest, in memory of its own; nothing when there is not
  // enough of it. weight: [N, K] bf16, fp32 or fp8, rows may be strided; scales: of an fp8 weight [1] or [N]
  // fp32, which its values are multiplied with, else empty. An fp8 weight packed as kFloat8 keeps its bits;
  // every other conversion rounds to nearest. Uses the rank's threads, and places the memory near the one
  // that reads it.
  std::optional<PackedWeight> pack(WeightFormat format, Tensor weight, Tensor scales = {});

  // Bytes of the device's memory that pack() takes for such a matrix.
  virtual int64_t packed_bytes(WeightFormat format, int64_t num_columns, int64_t depth) const = 0;

  // As linear() above from a packed weight. Activations are rounded too, to bf16 for bf16 and fp8 weights (to
  // fp8 with a scale for each row on GPUs that multiply fp8), to int8 with a scale for each 32 of a row for
  // int8 ones; products are exact and sums are in fp32 (over 32 elements in int32 for int8).
  void linear(Tensor output, Tensor input, const PackedWeight& weight, Epilogue epilogue = Epilogue::kNone);

  // output[t, i] += input[t, i]. [T, H] fp32.
  void add(Tensor output, Tensor input);

  // Rotates the first rotary_dim dimensions of each head of query (in place) and key, pairing i with
  // i + rotary_dim / 2, by the angle of positions[t]; writes the rotated key and the value, rounded to the
  // cache's type, to kv at slots[t] = block * block_size + offset. query: [T, num_heads, head_dim] fp32; key,
  // value: [T, num_kv_heads, head_dim] fp32.
  void rotary_and_kv_write(Tensor query, Tensor key, Tensor value, std::span<const int32_t> positions,
                           std::span<const int32_t> slots, const RotaryTable& table, const KvLayer& kv);

  // Causal attention of each chunk's rows over its sequence's keys and values in the paged cache: softmax(q
  // k^T / sqrt(head_dim)) v, query head h with KV head h / (num_heads / num_kv_heads), keys in fixed blocks
  // from position 0. With a cache in bf16, queries and the softmax's weights are rounded to bf16 too; sums
  // are in fp32. output, query: [T, num_heads, head_dim] fp32. Chunks cover rows [0, T) in order.
  void paged_attention(Tensor output, Tensor query, const KvLayer& kv,
                       std::span<const AttentionChunk> chunks);

  // output[i, :] = input[rows[i], :]. output: [rows.size(), H] fp32; input: [T, H] fp32.
  void gather_rows(Tensor output, Tensor input, std::span<const int32_t> rows);

  // Chooses a token from each row of logits, or scores a given one, as sample_row.h says. Done when it
  // returns; of logits, which are as before, nothing comes to the host. logits: [T, V] fp32, V at least 1;
  // rows, results: [T].
  void sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampledToken> results);

  // Adds data over the ranks of the stage, in rank order (on GPUs only where they are deterministic), and
  // leaves the same bits on each. data: [T, H] fp32 packed. Every rank calls it in the same order with the
  // same shape.
  void all_reduce(Tensor data);

  // output[t, r * N + n] = rank r's input[t, n], on every rank. output: [T, num_ranks * N] fp32; input: [T,
  // N] fp32.
  void all_gather_columns(Tensor output, Tensor input);

 private:
  virtual void do_embedding(Tensor output, std::span<const int32_t> tokens, Tensor table,
                            int32_t first_token) = 0;
  virtual void do_layer_norm(Tensor output, Tensor input, Tensor weight, Tensor bias, float epsilon) = 0;
  virtual void do_add_and_layer_norm(Tensor output, Tensor residual, Tensor input, Tensor weight, Tensor bias,
                                     float epsilon) = 0;
  virtual void do_linear(Tensor output, Tensor input, Tensor weight, Epilogue epilogue) = 0;
  virtual std::optional<PackedWeight> do_pack(WeightFormat format, Tensor weight, Tensor scales) = 0;
  virtual void do_packed_linear(Tensor output, Tensor input, const PackedWeight& weight,
                                Epilogue epilogue) = 0;
  virtual void do_add(Tensor output, Tensor input) = 0;
  virtual void do_rotary_and_kv_write(Tensor query, Tensor key, Tensor value,
                                      std::span<const int32_t> positions, std::span<const int32_t> slots,
                                      const RotaryTable& table, const KvLayer& kv) = 0;
  virtual void do_paged_attention(Tensor output, Tensor query, const KvLayer& kv,
                                  std::span<const AttentionChunk> chunks) = 0;
  virtual void do_gather_rows(Tensor output, Tensor input, std::span<const int32_t> rows) = 0;
  virtual void do_sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampledToken> results) = 0;
  virtual void do_all_reduce(Tensor data) = 0;
  virtual void do_all_gather_columns(Tensor output, Tensor input) = 0;
};

}  // namespace octet::kernels
