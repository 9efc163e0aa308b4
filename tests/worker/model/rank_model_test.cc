#include "worker/model/rank_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <tuple>

#include "kernels/cpu/cpu_backend.h"
#include "tests/worker/model/golden_logits.h"

namespace octet::worker {
namespace {

using kernels::Tensor;

constexpr char kModelDir[] = "deploy/nano";
constexpr uint32_t kBlockSize = 16;
constexpr uint32_t kNumBlocks = 128;
constexpr uint32_t kMaxRows = 2048;

// All ranks of all stages of the nano model; activations are copied from one stage to the next.
class ModelGrid {
 public:
  ModelGrid(int num_stages, int num_ranks)
      : config_(read_model_config(kModelDir).value()), checkpoint_(Checkpoint::open(kModelDir).value()) {
    const std::vector<LayerRange> ranges = split_layers(config_, num_stages, {}).value();
    for (const LayerRange& layers : ranges) {
      Stage stage;
      kernels::CpuOptions options;
      options.num_ranks = num_ranks;
      stage.backends = kernels::make_cpu_ranks(options);
      for (int rank = 0; rank < num_ranks; ++rank) {
        stage.models.push_back(
            RankModel::create(
                *stage.backends[static_cast<size_t>(rank)], config_,
                find_rank_weights(*checkpoint_, config_, layers, rank, num_ranks).value(),
                {.block_size = kBlockSize, .num_blocks = kNumBlocks, .max_batch_tokens = kMaxRows})
                .value());
      }
      stages_.push_back(std::move(stage));
    }
  }

  // The logits of input.logit_rows, [num_rows, vocab_size], as each rank of the last stage has them.
  std::vector<std::vector<float>> run(const ModelInput& input) {
    for (size_t s = 0; s < stages_.size(); ++s) {
      each_rank(stages_[s], [&](size_t rank) {
        RankModel& model = *stages_[s].models[rank];
        if (s > 0)
          copy(stages_[s - 1].models[rank]->outgoing(input.num_rows()), model.incoming(input.num_rows()));
        model.forward(input);
      });
    }
    std::vector<std::vector<float>> logits(stages_.back().models.size());
    each_rank(stages_.back(), [&](size_t rank) {
      stages_.back().models[rank]->compute_logits(input, [&](int64_t first, Tensor piece) {
        EXPECT_EQ(first * config_.vocab_size, static_cast<int64_t>(logits[rank].size()));
        logits[rank].insert(logits[rank].end(), piece.data<float>(),
                            piece.data<float>() + piece.num_elements());
      });
    });
    return logits;
  }

  const ModelConfig& config() const { return config_; }

 private:
  struct Stage {
    std::vector<std::unique_ptr<kernels::Backend>> backends;
    std::vector<std::unique_ptr<RankModel>> models;
  };

  static void copy(Tensor from, Tensor to) {
    std::memcpy(to.data<float>(), from.data<float>(),
                static_cast<size_t>(from.num_elements()) * sizeof(float));
  }

  static void each_rank(Stage& stage, const std::function<void(size_t)>& work) {
    std::vector<std::thread> threads;
    for (size_t rank = 0; rank < stage.models.size(); ++rank) threads.emplace_back(work, rank);
    for (std::thread& thread : threads) thread.join();
  }

  ModelConfig config_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<Stage> stages_;
};

// All prompts in one micro-batch, each with blocks of its own.
struct PromptBatch {
  explicit PromptBatch(const std::vector<GoldenLogits>& prompts) {
    int32_t next_block = 0;
    block_tables.reserve(prompts.size());
    for (const GoldenLogits& prompt : prompts) {
      const auto num_tokens = static_cast<int32_t>(prompt.tokens.size());
      const int32_t first_row = static_cast<int32_t>(input.num_rows());
      std::vector<int32_t>& table =
          block_tables.emplace_back((prompt.tokens.size() + kBlockSize - 1) / kBlockSize);
      std::iota(table.begin(), table.end(), next_block);
      next_block += static_cast<int32_t>(table.size());
      for (int32_t position = 0; position < num_tokens; ++position) {
        input.tokens.push_back(prompt.tokens[static_cast<size_t>(position)]);
        input.positions.push_back(position);
        input.slots.push_back(table.front() * static_cast<int32_t>(kBlockSize) + position);
        if (position >= num_tokens - prompt.num_rows) input.logit_rows.push_back(first_row + position);
      }
      kernels::AttentionChunk chunk;
      chunk.first_row = first_row;
      chunk.num_rows = num_tokens;
      chunk.block_table = table;
      input.chunks.push_back(chunk);
    }
  }

  std::vector<std::vector<int32_t>> block_tables;
  ModelInput input;
};

class RankModelShapes : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(RankModelShapes, LogitsAreThoseOfTransformers) {
  const std::vector<GoldenLogits> prompts = read_golden_logits();
  ASSERT_EQ(prompts.size(), 4u);
  ASSERT_GT(prompts[3].tokens.size(), 1500u);
  const PromptBatch batch(prompts);
  ModelGrid grid(std::get<0>(GetParam()), std::get<1>(GetParam()));
  const std::vector<std::vector<float>> logits = grid.run(batch.input);
  std::vector<float> expected;
  for (const GoldenLogits& prompt : prompts) {
    expected.insert(expected.end(), prompt.logits.begin(), prompt.logits.end());
  }
  ASSERT_EQ(logits[0].size(), expected.size());
  float largest_error = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const float error = std::abs(logits[0][i] - expected[i]);
    ASSERT_LE(error, 2e-3f) << "row " << i / 1600 << ", token " << i % 1600 << ": " << logits[0][i]
                            << ", expected " << expected[i];
    largest_error = std::max(largest_error, error);
  }
  RecordProperty("largest_error", std::to_string(largest_error));
  for (size_t rank = 1; rank < logits.size(); ++rank)
    EXPECT_TRUE(logits[rank] == logits[0]) << "rank " << rank;
}

INSTANTIATE_TEST_SUITE_P(StagesAndRanks, RankModelShapes,
                         testing::Values(std::tuple(1, 1), std::tuple(2, 1), std::tuple(2, 2),
                                         std::tuple(4, 2), std::tuple(8, 1), std::tuple(2, 8),
                                         std::tuple(1, 16)),  // more ranks than KV heads
                         [](const auto& shape) {
                           return std::to_string(std::get<0>(shape.param)) + "x" +
                                  std::to_string(std::get<1>(shape.param));
                         });

TEST(RankModel, LogitBitsDoNotDependOnWhichRowsAreAskedFor) {
  const std::vector<GoldenLogits> prompts = read_golden_logits();
  PromptBatch batch(prompts);
  ModelGrid grid(1, 1);
  const std::vector<float> some = grid.run(batch.input)[0];
  const std::vector<int32_t> some_rows = batch.input.logit_rows;
  batch.input.logit_rows.resize(batch.input.tokens.size());
  std::iota(batch.input.logit_rows.begin(), batch.input.logit_rows.end(), 0);
  const std::vector<float> all = grid.run(batch.input)[0];
  const auto vocab = static_cast<size_t>(grid.config().vocab_size);
  for (size_t i = 0; i < some_rows.size(); ++i) {
    EXPECT_EQ(
        std::memcmp(&some[i * vocab], &all[static_cast<size_t>(some_rows[i]) * vocab], vocab * sizeof(float)),
        0)
        << "row " << some_rows[i];
  }
}

TEST(RankModel, ComputesNothingForNoRows) {
  ModelGrid grid(2, 2);
  const std::vector<std::vector<float>> logits = grid.run({});
  EXPECT_TRUE(logits[0].empty());
}

TEST(RankModel, SaysWhatThereIsNoMemoryFor) {
  const ModelConfig config = read_model_config(kModelDir).value();
  const auto checkpoint = Checkpoint::open(kModelDir).value();
  const auto backends = kernels::make_cpu_ranks({});
  const auto model =
      RankModel::create(*backends[0], config, find_rank_weights(*checkpoint, config, {0, 8}, 0, 1).value(),
                        {.block_size = 1024, .num_blocks = UINT32_MAX / 1024, .max_batch_tokens = 1});
  // 4 TB a layer and side: a machine that grants even that shows nothing here.
  if (model.ok()) GTEST_SKIP() << "this machine gives out that much address space";
  EXPECT_TRUE(absl::IsResourceExhausted(model.status())) << model.status();
}

}  // namespace
}  // namespace octet::worker
