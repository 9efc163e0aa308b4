// A step takes no memory: what it needs is there after the largest step before it.
#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "kernels/cpu/cpu_backend.h"
#include "tests/testing/count_allocations.h"
#include "worker/model/pack_weights.h"
#include "worker/model/rank_model.h"

namespace octet::worker {
namespace {

constexpr char kModelDir[] = "deploy/nano";
constexpr int32_t kBlockSize = 16;
constexpr int32_t kMaxRows = 64;

// Sequences of so many tokens each, all of them rows of this step.
class Step {
 public:
  Step(int32_t num_sequences, int32_t num_rows) : block_tables_(static_cast<size_t>(num_sequences)) {
    int32_t next_block = 0;
    for (std::vector<int32_t>& table : block_tables_) {
      table.resize(static_cast<size_t>((num_rows + kBlockSize - 1) / kBlockSize));
      std::iota(table.begin(), table.end(), next_block);
      kernels::AttentionChunk chunk;
      chunk.first_row = static_cast<int32_t>(input.num_rows());
      chunk.num_rows = num_rows;
      chunk.block_table = table;
      input.chunks.push_back(chunk);
      for (int32_t position = 0; position < num_rows; ++position) {
        input.tokens.push_back(300 + position);
        input.positions.push_back(position);
        input.slots.push_back(next_block * kBlockSize + position);
      }
      input.logit_rows.push_back(chunk.first_row + num_rows - 1);
      next_block += static_cast<int32_t>(table.size());
    }
  }
  ModelInput input;

 private:
  std::vector<std::vector<int32_t>> block_tables_;
};

struct Arithmetic {
  std::string name;
  WeightOptions weights;
  kernels::DType kv_cache_type;
};

class Allocation : public ::testing::TestWithParam<Arithmetic> {};

TEST_P(Allocation, AStepTakesNoMemory) {
  const ModelConfig config = read_model_config(kModelDir).value();
  const auto checkpoint = Checkpoint::open(kModelDir).value();
  kernels::CpuOptions options;
  options.threads_per_rank = 2;
  const auto backends = kernels::make_cpu_ranks(options);
  const LayerRange layers = split_layers(config, 1, {}).value().front();
  auto weights = load_rank_weights(*checkpoint, config, layers, GetParam().weights, *backends.front(),
                                   [](const StoredMatrix&, const kernels::PackedWeight&) {});
  const auto model = RankModel::create(*backends.front(), config, std::move(weights).value(),
                                       {.block_size = kBlockSize,
                                        .num_blocks = 64,
                                        .kv_cache_type = GetParam().kv_cache_type,
                                        .max_batch_tokens = kMaxRows})
                         .value();
  int64_t num_logit_rows = 0;
  const RankModel::LogitsUser count = [&](int64_t, const kernels::Tensor& logits) {
    num_logit_rows += logits.size(0);
  };
  // Most rows of one sequence, most sequences, and what comes in between.
  const Step steps[] = {Step(1, kMaxRows), Step(kMaxRows, 1), Step(4, 9), Step(1, 1), Step(2, 17)};
  for (int turn = 0; turn < 2; ++turn) {
    for (const Step& step : steps) {
      const int64_t before = testing::count_allocations();
      model->forward(step.input);
      model->compute_logits(step.input, count);
      if (turn > 0) {
        EXPECT_EQ(testing::count_allocations(), before) << step.input.num_rows() << " rows";
      }
    }
  }
  EXPECT_EQ(num_logit_rows, 2 * (1 + kMaxRows + 4 + 1 + 2));
}

INSTANTIATE_TEST_SUITE_P(
    All, Allocation,
    ::testing::Values(
        Arithmetic{"InPlace", {.activations = ActivationType::kFloat32}, kernels::DType::kFloat32},
        Arithmetic{"Bf16", {}, kernels::DType::kBFloat16},
        Arithmetic{"Int8", {.format = kernels::WeightFormat::kInt8}, kernels::DType::kBFloat16},
        Arithmetic{"Fp8", {.format = kernels::WeightFormat::kFloat8}, kernels::DType::kBFloat16}),
    [](const auto& arithmetic) { return arithmetic.param.name; });

}  // namespace
}  // namespace octet::worker
