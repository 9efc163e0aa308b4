#include "tools/gpu_check/time_rank.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/launch.h"
#include "tools/gpu_check/synthetic_rank.h"

namespace octet::gpu_check {
namespace {

using kernels::cuda::check;

constexpr double kLeastSeconds = 0.05;  // of the repeats of what is timed
constexpr int kMaxRepeats = 1000;
constexpr double kBfloat16 = 2;  // bytes
constexpr double kFloat32 = 4;

// The mean of some calls, each of which returns before the device is done; wait() returns after. Once before,
// to warm up and to build what is built once, and again for a graph's capture.
double seconds_of(const std::function<void()>& call, const std::function<void()>& wait, int least_repeats) {
  using Clock = std::chrono::steady_clock;
  const auto timed = [&](int repeats) {
    const Clock::time_point began = Clock::now();
    for (int i = 0; i < repeats; ++i) call();
    wait();
    return std::chrono::duration<double>(Clock::now() - began).count();
  };
  timed(2);
  const double once = timed(1);
  const int repeats = std::clamp(static_cast<int>(kLeastSeconds / once), least_repeats, kMaxRepeats);
  return timed(repeats) / repeats;
}

Peaks measure_peaks(kernels::Backend& rank, int device, const RankShape& shape) {
  check(cudaSetDevice(device), "cudaSetDevice");
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  const auto wait = [&] { check(cudaStreamSynchronize(stream), "cudaStreamSynchronize"); };
  Peaks peaks;
  {
    const auto from = rank.allocate(shape.copy_bytes), to = rank.allocate(shape.copy_bytes);
    OCTET_CHECK(from != nullptr && to != nullptr, "no device memory for a copy");
    const double seconds = seconds_of(
        [&] {
          check(cudaMemcpyAsync(to->data(), from->data(), static_cast<size_t>(shape.copy_bytes),
                                cudaMemcpyDeviceToDevice, stream),
                "cudaMemcpy");
        },
        wait, shape.repeats);
    peaks.copy_bytes_per_second = 2 * static_cast<double>(shape.copy_bytes) / seconds;
  }
  {
    const int64_t n = shape.gemm_size;
    constexpr int64_t kWorkspace = 32 << 20;
    const auto a = rank.allocate(2 * n * n), b = rank.allocate(2 * n * n), c = rank.allocate(4 * n * n),
               workspace = rank.allocate(kWorkspace);
    OCTET_CHECK(a != nullptr && b != nullptr && c != nullptr && workspace != nullptr,
                "no device memory for a product");
    kernels::cuda::Queue queue(stream);
    kernels::cuda::Gemm gemm(workspace->data(), kWorkspace);
    const double seconds = seconds_of(
        [&] {
          gemm.multiply({n, n, n, n}, static_cast<float*>(c->data()), a->data(), b->data(), queue);
        },
        wait, shape.repeats);
    peaks.gemm_operations_per_second =
        2 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / seconds;
  }
  cudaStreamDestroy(stream);
  return peaks;
}

class Timer {
 public:
  // format: of the synthetic rank's weights, as the steps' names give it.
  Timer(kernels::Backend& rank, const RankShape& shape, const char* format, SyntheticRank& synthetic,
        Report& report)
      : rank_(rank),
        shape_(shape),
        format_(format),
        synthetic_(synthetic),
        report_(report),
        something_(rank.allocate(4)) {}

  void time_ops() {
    const auto rows = shape_.prefills.back();
    const auto r = static_cast<double>(rows);
    const auto hidden = static_cast<double>(shape_.hidden_size);
    const auto up = static_cast<double>(shape_.intermediate_size);
    const auto query = static_cast<double>(shape_.num_heads * shape_.head_dim);
    const auto kv = static_cast<double>(shape_.num_kv_heads * shape_.head_dim);
    add(
        "add_and_layer_norm", rows, [&] { synthetic_.norm(rows); }, 16 * r * hidden, 0);
    // Half of each query head is read and written; keys and values are read in fp32 and written in bf16.
    add(
        "rotary_and_kv_write", rows, [&] { synthetic_.rotary(rows); },
        r * (query * kFloat32 + 2 * kv * (kFloat32 + kBfloat16)), 0);
    add(
        "up, squared ReLU", rows, [&] { synthetic_.up_with_squared_relu(rows); },
        kBfloat16 * hidden * up + kFloat32 * r * (hidden + up), 2 * r * hidden * up);
    for (const int64_t prefill : shape_.prefills) {
      add(
          "paged_attention, prefill", prefill, [&] { synthetic_.attend_prefill(prefill); },
          attention_bytes(prefill, prefill), attention_operations(prefill, prefill) / 2);
    }
    for (const int64_t batch : shape_.sampled_batches) {
      const double bytes = kFloat32 * static_cast<double>(batch * shape_.vocab_size);
      kernels::SampleRow row;
      row.temperature = 0;
      add(
          "sample, greedy", batch, [&] { synthetic_.sample(batch, row); }, bytes, 0);
      row.temperature = 0.005f;  // as spread as a model's logits at 1
      add(
          "sample, drawn", batch, [&] { synthetic_.sample(batch, row); }, bytes, 0);
      row.top_k = 50;
      row.top_p = 0.95f;
      row.num_top = 5;
      add(
          "sample, top_k, top_p, log-probabilities", batch, [&] { synthetic_.sample(batch, row); }, bytes, 0);
    }
    for_each_decode([&](int64_t batch, int64_t context) {
      add(
          "paged_attention, decode, " + std::to_string(context) + " tokens", batch,
          [&] { synthetic_.attend_decode(batch, context); },
          static_cast<double>(batch) * attention_bytes(1, context), 0);
    });
  }

  void time_steps() {
    const auto weights = static_cast<double>(synthetic_.weight_bytes());
    const auto products = 2 * static_cast<double>(synthetic_.num_parameters());  // of one row
    const auto token = static_cast<double>(synthetic_.kv_bytes_of_token());
    const auto layers = static_cast<double>(shape_.num_layers);
    for_each_decode([&](int64_t batch, int64_t context) {
      const double bytes = weights + static_cast<double>(batch * context) * token;
      const double operations = products * static_cast<double>(batch);
      const std::string name = format_ + ", " + std::to_string(context) + " tokens";
      add(
          "step, decode, " + name, batch, [&] { synthetic_.decode(batch, context); }, bytes, operations);
      add(
          "step, decode by graph, " + name, batch, [&] { synthetic_.decode_by_graph(batch, context); }, bytes,
          operations);
    });
    for (const int64_t rows : shape_.prefills) {
      const double operations =
          products * static_cast<double>(rows) + layers * attention_operations(rows, rows) / 2;
      add(
          "step, prefill, " + format_, rows, [&] { synthetic_.prefill(rows); }, weights, operations);
    }
  }

 private:
  // Of one KV cache layer that is read once, queries and outputs.
  double attention_bytes(int64_t rows, int64_t keys) const {
    return static_cast<double>(keys * shape_.num_kv_heads * shape_.head_dim) * 2 * kBfloat16 +
           static_cast<double>(rows * shape_.num_heads * shape_.head_dim) * 2 * kFloat32;
  }
  double attention_operations(int64_t rows, int64_t keys) const {
    return 4 * static_cast<double>(rows * keys) * static_cast<double>(shape_.num_heads * shape_.head_dim);
  }

  template <typename Function>
  void for_each_decode(const Function& function) {
    for (const int64_t context : shape_.decode_contexts) {
      for (const int64_t batch : shape_.decode_batches) {
        if (batch * (context + SyntheticRank::kBlockSize) <= synthetic_.max_tokens()) {
          function(batch, context);
        } else {
          const std::string line = format_ + ", decode of " + std::to_string(batch) + " x " +
                                   std::to_string(context) + " tokens: memory for " +
                                   std::to_string(synthetic_.max_tokens());
          if (std::ranges::count(report_.left_out, line) == 0) report_.left_out.push_back(line);
        }
      }
    }
  }

  void add(const std::string& name, int64_t rows, const std::function<void()>& call, double bytes,
           double operations) {
    const auto wait = [&] {
      float value = 0;
      rank_.download(&value, something_->data(), sizeof value);
    };
    report_.measurements.push_back(
        {name + " x " + std::to_string(rows), seconds_of(call, wait, shape_.repeats), bytes, operations});
  }

  kernels::Backend& rank_;
  const RankShape& shape_;
  const std::string format_;
  SyntheticRank& synthetic_;
  Report& report_;
  const std::unique_ptr<kernels::Buffer> something_;
};

}  // namespace

void time_rank(kernels::Backend& rank, int device, const RankShape& shape, Report& report) {
  report.shape = shape.name;
  report.peaks = measure_peaks(rank, device, shape);
  const int64_t max_rows = std::max(shape.decode_batches.back(), shape.prefills.back());
  const int64_t max_tokens =
      std::max(shape.decode_batches.back() * (shape.decode_contexts.back() + 2 * SyntheticRank::kBlockSize),
               shape.prefills.back() + SyntheticRank::kBlockSize);
  for (const kernels::WeightFormat format :
       {kernels::WeightFormat::kBFloat16, kernels::WeightFormat::kFloat8}) {
    const std::string name = name_of(format);
    if (format == kernels::WeightFormat::kFloat8 && !kernels::has_fp8_products(device)) {
      report.left_out.push_back("fp8: the device multiplies none");
      continue;
    }
    std::optional<SyntheticRank> synthetic = SyntheticRank::create(rank, shape, format, max_rows, max_tokens);
    if (!synthetic) {
      report.left_out.push_back(name + ": no device memory for the rank");
      continue;
    }
    Timer timer(rank, shape, name.c_str(), *synthetic, report);
    if (format == kernels::WeightFormat::kBFloat16) timer.time_ops();  // which know no weights but one
    timer.time_steps();
  }
}

}  // namespace octet::gpu_check
