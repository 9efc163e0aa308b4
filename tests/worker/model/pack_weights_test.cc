#include "worker/model/pack_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "kernels/cpu/cpu_backend.h"
#include "tests/worker/model/fp8_checkpoint.h"

namespace octet::worker {
namespace {

using kernels::DType;
using kernels::PackedWeight;
using kernels::Tensor;
using kernels::WeightFormat;
using testing::AllOf;
using testing::HasSubstr;

constexpr LayerRange kAllLayers = {0, 8};

// [rows, columns], what the weight multiplies with, seen by multiplying the unit matrix.
std::vector<float> values_of(kernels::Backend& backend, const LinearWeight& weight, int64_t num_columns) {
  const int64_t num_rows = num_outputs(weight);
  std::vector<float> unit(static_cast<size_t>(num_columns * num_columns));
  for (int64_t i = 0; i < num_columns; ++i) unit[static_cast<size_t>(i * num_columns + i)] = 1;
  std::vector<float> product(static_cast<size_t>(num_columns * num_rows));
  std::visit(
      [&](const auto& form) {
        backend.linear(Tensor(product.data(), DType::kFloat32, {num_columns, num_rows}),
                       Tensor(unit.data(), DType::kFloat32, {num_columns, num_columns}), form);
      },
      weight);
  std::vector<float> values(product.size());
  for (int64_t row = 0; row < num_rows; ++row) {
    for (int64_t column = 0; column < num_columns; ++column) {
      values[static_cast<size_t>(row * num_columns + column)] =
          product[static_cast<size_t>(column * num_rows + row)];
    }
  }
  return values;
}

// What the checkpoint says that they are.
std::vector<float> values_of(const StoredMatrix& stored) {
  std::vector<float> values;
  for (int64_t row = 0; row < stored.values.size(0); ++row) {
    for (int64_t column = 0; column < stored.values.size(1); ++column) {
      const int64_t i = row * stored.values.row_stride() + column;
      if (stored.values.dtype() == DType::kBFloat16) {
        values.push_back(
            std::bit_cast<float>(static_cast<uint32_t>(stored.values.data<uint16_t>()[i]) << 16));
      } else {
        const float scale = stored.scales.data<float>()[stored.scales.size(0) == 1 ? 0 : row];
        values.push_back(value_of_fp8(stored.values.data<uint8_t>()[i]) * scale);
      }
    }
  }
  return values;
}

// The largest error of a matrix's values by the largest value.
float relative_error(const std::vector<float>& values, const std::vector<float>& expected) {
  EXPECT_EQ(values.size(), expected.size());
  float error = 0;
  float largest = 0;
  for (size_t i = 0; i < std::min(values.size(), expected.size()); ++i) {
    error = std::max(error, std::abs(values[i] - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  return error / largest;
}

// Loads every rank's weights and gives the largest relative_error() of all matrices.
float largest_error(const std::string& model_dir, const WeightOptions& options, int num_ranks) {
  const ModelConfig config = read_model_config(model_dir).value();
  const auto checkpoint = Checkpoint::open(model_dir).value();
  const auto backends = kernels::make_cpu_ranks({.num_ranks = num_ranks});
  float largest = 0;
  for (const auto& backend : backends) {
    int64_t num_packed = 0;
    const auto compare = [&](const StoredMatrix& stored, const PackedWeight& packed) {
      ++num_packed;
      if (num_packed > 6 && stored.name != "lm_head.weight") return;  // one layer shows it
      const auto values = values_of(*backend, packed, stored.values.size(1));
      largest = std::max(largest, relative_error(values, values_of(stored)));
    };
    const auto weights = load_rank_weights(*checkpoint, config, kAllLayers, options, *backend, compare);
    EXPECT_TRUE(weights.ok()) << weights.status();
    EXPECT_EQ(num_packed, 8 * 6 + 1);
  }
  return largest;
}

class PackedWeights : public testing::TestWithParam<int> {};

TEST_P(PackedWeights, Bf16KeepsEveryValue) {
  EXPECT_EQ(largest_error("deploy/nano", {}, GetParam()), 0);
}

TEST_P(PackedWeights, Int8IsWithinHalfAStep) {
  EXPECT_LE(largest_error("deploy/nano", {.format = WeightFormat::kInt8}, GetParam()), 0.6f / 127);
}

TEST_P(PackedWeights, Fp8IsWithinHalfAStepOfTheLargest) {
  EXPECT_LE(largest_error("deploy/nano", {.format = WeightFormat::kFloat8}, GetParam()), 16.1f / 448);
}

TEST_P(PackedWeights, AnFp8CheckpointKeepsEveryValue) {
  for (const ScaleShape shape : {ScaleShape::kScalar, ScaleShape::kOne, ScaleShape::kRows}) {
    TemporaryFolder folder;
    write_fp8_checkpoint(folder, shape);
    EXPECT_EQ(largest_error(folder.path(), {}, GetParam()), 0);
    // Values of fp8 with any scale are not all values of bf16.
    EXPECT_LE(largest_error(folder.path(), {.format = WeightFormat::kBFloat16}, GetParam()), 1.0f / 256);
    EXPECT_LE(largest_error(folder.path(), {.format = WeightFormat::kInt8}, GetParam()), 0.6f / 127);
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, PackedWeights, testing::Values(1, 2, 8));

class PackWeightsTest : public testing::Test {
 protected:
  absl::StatusOr<WeightPlan> plan(const std::string& model_dir, const WeightOptions& options,
                                  LayerRange layers = kAllLayers) {
    const auto checkpoint = Checkpoint::open(model_dir).value();
    return plan_weights(*checkpoint, read_model_config(model_dir).value(), layers, options);
  }
  std::string error(const std::string& header_from, const std::string& header_to) {
    TemporaryFolder folder;
    write_fp8_checkpoint(folder, ScaleShape::kScalar);
    std::string content = read_file(folder.file("model.safetensors"));
    content.replace(content.find(header_from), header_from.size(), header_to);
    folder.write("model.safetensors", content);
    const absl::Status status = plan(folder.path(), {}).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr(folder.file("model.safetensors")));
    return std::string(status.message());
  }
};

TEST_F(PackWeightsTest, CountsTheBytesOfAStage) {
  const WeightPlan first = plan("deploy/nano", {}, {0, 4}).value();
  const WeightPlan last = plan("deploy/nano", {}, {4, 8}).value();
  EXPECT_EQ(first.num_packed, 4 * 6);
  EXPECT_EQ(last.num_packed, 4 * 6 + 1);
  EXPECT_EQ(last.packed_bytes, first.packed_bytes + 2 * 1600 * 128);
  EXPECT_EQ(last.in_place_bytes, first.in_place_bytes - 2 * 1600 * 128 + 2 * 2 * 128);  // the final norm

  const WeightPlan in_place = plan("deploy/nano", {.activations = ActivationType::kFloat32}, {0, 4}).value();
  EXPECT_EQ(in_place.num_packed, 0);
  EXPECT_EQ(in_place.in_place_bytes, first.in_place_bytes + first.packed_bytes);
}

TEST_F(PackWeightsTest, Fp32ActivationsNeedWeightsThatLinearReadsInPlace) {
  TemporaryFolder folder;
  write_fp8_checkpoint(folder, ScaleShape::kScalar);
  const absl::Status status = plan(folder.path(), {.activations = ActivationType::kFloat32}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(folder.file("model.safetensors")),
                    HasSubstr("layers.0.self_attn.q_proj.weight"), HasSubstr("--activations fp32")));
}

TEST_F(PackWeightsTest, AnFp8MatrixNeedsItsScale) {
  EXPECT_THAT(error("up_proj.weight_scale\"", "up_proj.weight_SCALE\""),
              HasSubstr("lacks tensor \"model.layers.0.mlp.up_proj.weight_scale\""));
  EXPECT_THAT(error("\"model.layers.0.mlp.up_proj.weight_scale\":{\"dtype\":\"F32\"",
                    "\"model.layers.0.mlp.up_proj.weight_scale\":{\"dtype\":\"I32\""),
              HasSubstr("up_proj.weight_scale\": has dtype I32, expected F32"));
}

// A backend that has no memory left for weights.
class FullBackend final : public kernels::Backend {
 public:
  const char* name() const override { return "full"; }
  int rank() const override { return 0; }
  int num_ranks() const override { return 1; }
  std::unique_ptr<kernels::Buffer> allocate(int64_t) override { return nullptr; }
  bool all_agree(bool ok) override { return ok; }
  int64_t packed_bytes(WeightFormat, int64_t, int64_t) const override { return 0; }

 private:
  std::optional<PackedWeight> do_pack(WeightFormat, Tensor, Tensor) override { return std::nullopt; }
  void do_embedding(Tensor, std::span<const int32_t>, Tensor, int32_t) override {}
  void do_layer_norm(Tensor, Tensor, Tensor, Tensor, float) override {}
  void do_add_and_layer_norm(Tensor, Tensor, Tensor, Tensor, Tensor, float) override {}
  void do_linear(Tensor, Tensor, Tensor, kernels::Epilogue) override {}
  void do_packed_linear(Tensor, Tensor, const PackedWeight&, kernels::Epilogue) override {}
  void do_add(Tensor, Tensor) override {}
  void do_rotary_and_kv_write(Tensor, Tensor, Tensor, std::span<const int32_t>, std::span<const int32_t>,
                              const kernels::RotaryTable&, const kernels::KvLayer&) override {}
  void do_paged_attention(Tensor, Tensor, const kernels::KvLayer&,
                          std::span<const kernels::AttentionChunk>) override {}
  void do_gather_rows(Tensor, Tensor, std::span<const int32_t>) override {}
  void do_sample(Tensor, std::span<const kernels::SampleRow>, std::span<kernels::SampledToken>) override {}
  void do_all_reduce(Tensor) override {}
  void do_all_gather_columns(Tensor, Tensor) override {}
};

TEST_F(PackWeightsTest, NamesTheTensorThatThereIsNoMemoryFor) {
  FullBackend backend;
  const auto checkpoint = Checkpoint::open("deploy/nano").value();
  int num_packed = 0;
  const auto weights =
      load_rank_weights(*checkpoint, read_model_config("deploy/nano").value(), kAllLayers, {}, backend,
                        [&](const StoredMatrix&, const PackedWeight&) { ++num_packed; });
  EXPECT_TRUE(absl::IsResourceExhausted(weights.status())) << weights.status();
  EXPECT_THAT(std::string(weights.status().message()),
              AllOf(HasSubstr("deploy/nano/model.safetensors"),
                    HasSubstr("\"model.layers.0.self_attn.q_proj.weight\": no memory to pack it as bf16")));
  EXPECT_EQ(num_packed, 0);
}

}  // namespace
}  // namespace octet::worker
