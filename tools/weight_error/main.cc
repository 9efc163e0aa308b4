// octet-weight-error: how far bf16, int8 and fp8 weights take a model from its own weights with fp32
// activations. Prints |y - exact|^2 / |exact|^2 of the products of each kind of matrix with rows of normally
// distributed numbers, and of the logits of random tokens. For checkpoints in bf16 or fp32.
#include <array>
#include <cstdio>
#include <iostream>
#include <map>
#include <numeric>
#include <random>

#include "base/flags.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/cpu_topology.h"
#include "worker/model/pack_weights.h"
#include "worker/model/rank_model.h"

namespace octet {
namespace {

using kernels::DType;
using kernels::Tensor;
using kernels::WeightFormat;

constexpr std::array kFormats = {WeightFormat::kBFloat16, WeightFormat::kInt8, WeightFormat::kFloat8};
constexpr int64_t kProductRows = 16;
constexpr uint32_t kBlockSize = 16;

struct Options {
  std::string model_dir;
  int num_tokens = 192;
  int seed = 1;
};

struct Error {
  double squared_error = 0;
  double squared = 0;

  void add(const std::vector<float>& values, const std::vector<float>& exact) {
    for (size_t i = 0; i < exact.size(); ++i) {
      const double difference = double{values[i]} - double{exact[i]};
      squared_error += difference * difference;
      squared += double{exact[i]} * double{exact[i]};
    }
  }
  double normalised() const { return squared_error / squared; }
};

// One model on one rank with all CPUs.
class Meter {
 public:
  Meter(const Options& options, worker::ModelConfig config, const worker::Checkpoint& checkpoint)
      : options_(options), config_(std::move(config)), checkpoint_(checkpoint) {
    kernels::CpuOptions cpu;
    cpu.threads_per_rank = static_cast<int>(kernels::usable_cpus().size());
    backend_ = std::move(kernels::make_cpu_ranks(cpu)[0]);
  }

  absl::Status run() {
    const auto exact = logits({.activations = worker::ActivationType::kFloat32}, nullptr);
    if (!exact.ok()) return exact.status();
    std::printf("%-28s %10s\n", "weights and matrix", "error");
    for (const WeightFormat format : kFormats) {
      std::map<std::string, Error> errors;
      const auto observe = [&](const worker::StoredMatrix& stored, const kernels::PackedWeight& packed) {
        measure_product(stored, packed, errors);
      };
      const auto values = logits({.format = format}, observe);
      if (!values.ok()) return values.status();
      errors["logits"].add(*values, *exact);
      for (const auto& [kind, error] : errors) {
        std::printf("%-5s %-22s %10.2e\n", name_of(format), kind.c_str(), error.normalised());
      }
    }
    return absl::OkStatus();
  }

 private:
  // "model.layers.3.mlp.up_proj.weight" is of the kind "up_proj".
  static std::string kind_of(const std::string& name) {
    const std::string path = name.substr(0, name.rfind('.'));
    return path.substr(path.rfind('.') + 1);
  }

  void measure_product(const worker::StoredMatrix& stored, const kernels::PackedWeight& packed,
                       std::map<std::string, Error>& errors) {
    std::vector<float> input(static_cast<size_t>(kProductRows * packed.depth));
    std::mt19937 random(static_cast<uint32_t>(options_.seed));
    std::normal_distribution<float> normal;
    for (float& value : input) value = normal(random);
    const auto product = [&](const auto& weight) {
      std::vector<float> output(static_cast<size_t>(kProductRows * packed.num_columns));
      backend_->linear(Tensor(output.data(), DType::kFloat32, {kProductRows, packed.num_columns}),
                       Tensor(input.data(), DType::kFloat32, {kProductRows, packed.depth}), weight);
      return output;
    };
    errors[kind_of(stored.name)].add(product(packed), product(stored.values));
  }

  absl::StatusOr<std::vector<float>> logits(const worker::WeightOptions& options,
                                            const worker::PackObserver& observe) {
    auto weights = load_rank_weights(
        checkpoint_, config_, {0, config_.num_layers}, options, *backend_,
        observe ? observe : [](const auto&, const auto&) {});
    if (!weights.ok()) return weights.status();
    const auto num_tokens = static_cast<uint32_t>(options_.num_tokens);
    auto model = worker::RankModel::create(*backend_, config_, *std::move(weights),
                                           {.block_size = kBlockSize,
                                            .num_blocks = num_tokens / kBlockSize + 1,
                                            .max_batch_tokens = num_tokens});
    if (!model.ok()) return model.status();
    std::mt19937 random(static_cast<uint32_t>(options_.seed));
    worker::ModelInput input;
    for (int32_t i = 0; i < options_.num_tokens; ++i) {
      input.tokens.push_back(static_cast<int32_t>(random() % static_cast<uint32_t>(config_.vocab_size)));
      input.positions.push_back(i);
      input.slots.push_back(i);
      input.logit_rows.push_back(i);
    }
    std::vector<int32_t> blocks(num_tokens / kBlockSize + 1);
    std::iota(blocks.begin(), blocks.end(), 0);
    input.chunks.push_back({.num_rows = options_.num_tokens, .block_table = blocks});
    (*model)->forward(input);
    std::vector<float> all;
    (*model)->compute_logits(input, [&](int64_t, const Tensor& piece) {
      all.insert(all.end(), piece.data<float>(), piece.data<float>() + piece.num_elements());
    });
    return all;
  }

  const Options& options_;
  const worker::ModelConfig config_;
  const worker::Checkpoint& checkpoint_;
  std::unique_ptr<kernels::Backend> backend_;
};

absl::Status measure(const Options& options) {
  auto config = worker::read_model_config(options.model_dir);
  if (!config.ok()) return config.status();
  if (options.num_tokens > config->max_model_len) {
    return absl::InvalidArgumentError("--tokens: more than the model's context");
  }
  const auto checkpoint = worker::Checkpoint::open(options.model_dir);
  if (!checkpoint.ok()) return checkpoint.status();
  return Meter(options, *std::move(config), **checkpoint).run();
}

int run(int argc, const char* const* argv) {
  Options options;
  Flags flags("octet-weight-error",
              "Prints the normalised squared error of bf16, int8 and fp8 weights against fp32 activations.");
  flags.add_text("model", &options.model_dir, "The folder with config.json and the checkpoint. Required.");
  flags.add_number("tokens", &options.num_tokens, 1, 1 << 16, "Random tokens whose logits are compared.");
  flags.add_number("seed", &options.seed, 0, INT32_MAX, "Of the tokens and of the rows.");
  const auto outcome = flags.parse(argc, argv);
  absl::Status status = outcome.status();
  if (status.ok() && *outcome == Flags::Outcome::kHelpPrinted) return 0;
  if (status.ok()) status = measure(options);
  if (!status.ok()) std::cerr << "octet-weight-error: " << status.message() << "\n";
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  return octet::run(argc, argv);
}
