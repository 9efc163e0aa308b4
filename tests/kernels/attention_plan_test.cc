#include "kernels/cuda/attention_plan.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace octet::kernels::cuda {
namespace {

AttentionChunk chunk(int32_t first_row, int32_t num_rows, int32_t start_position,
                     std::span<const int32_t> blocks = {}) {
  return {
      .first_row = first_row, .num_rows = num_rows, .start_position = start_position, .block_table = blocks};
}

AttentionPlan plan_of(std::vector<AttentionChunk> chunks, int32_t num_kv_heads = 1, int32_t group = 12,
                      int32_t num_multiprocessors = 132) {
  AttentionPlan plan;
  plan_attention(chunks, num_kv_heads, group, num_multiprocessors, plan);
  return plan;
}

TEST(AttentionPlan, TakesADecodeInOneNarrowTile) {
  const AttentionPlan plan = plan_of({chunk(3, 1, 511)});
  EXPECT_EQ(to_text(plan), "1 narrow, 0 wide, 0 merged, 0 partial");
  EXPECT_EQ(plan.narrow[0].first_row, 3);
  EXPECT_EQ(plan.narrow[0].partial, kToOutput);
}

TEST(AttentionPlan, DividesALongDecodeAtFixedPositions) {
  const AttentionPlan plan = plan_of({chunk(0, 1, 512), chunk(1, 1, 4095)});
  EXPECT_EQ(to_text(plan), "10 narrow, 0 wide, 2 merged, 10 partial");
  EXPECT_EQ(plan.merges[1].num_splits, 8);
  EXPECT_EQ(plan.merges[1].first_partial, 2);
  EXPECT_EQ(plan.narrow[9].first_split, 7);
  EXPECT_EQ(plan.narrow[9].end_split, 8);
}

TEST(AttentionPlan, TakesAChunkInWideTiles) {
  // 20 rows of 12 heads are 240 tile rows.
  EXPECT_EQ(to_text(plan_of({chunk(0, 20, 0)})), "0 narrow, 4 wide, 0 merged, 0 partial");
}

TEST(AttentionPlan, DividesTheSplitsOfAChunkThatLeavesMultiprocessorsIdle) {
  // Two splits for each of four tiles; the last has three units of rows.
  EXPECT_EQ(to_text(plan_of({chunk(0, 20, 512)})), "0 narrow, 8 wide, 15 merged, 32 partial");
  EXPECT_EQ(to_text(plan_of({chunk(0, 20, 512)}, 1, 12, 4)), "0 narrow, 4 wide, 0 merged, 16 partial");
}

TEST(AttentionPlan, FindsEachChunksBlocks) {
  const std::vector<int32_t> blocks = {7, 8, 9};
  const AttentionPlan plan =
      plan_of({chunk(0, 1, 40, blocks), chunk(1, 0, 0, blocks), chunk(1, 1, 40, blocks)});
  ASSERT_EQ(plan.narrow.size(), 2u);
  EXPECT_EQ(plan.narrow[1].first_block, 6);
}

TEST(AttentionPlan, ForgetsTheLastOne) {
  AttentionPlan plan = plan_of({chunk(0, 1, 4000), chunk(1, 300, 0)});
  plan_attention({}, 1, 12, 132, plan);
  EXPECT_EQ(to_text(plan), "0 narrow, 0 wide, 0 merged, 0 partial");
}

// Every split of every tile row is computed once, and has a place of its own until it is merged.
TEST(AttentionPlan, ComputesEverySplitOfEveryRowOnce) {
  std::mt19937 random(5);
  const auto number = [&](int32_t low, int32_t high) {
    return std::uniform_int_distribution<int32_t>(low, high)(random);
  };
  for (int round = 0; round < 300; ++round) {
    const int32_t group = number(1, 20);
    std::vector<AttentionChunk> chunks;
    int32_t num_rows = 0;
    for (int32_t i = number(0, 6); i >= 0; --i) {
      chunks.push_back(chunk(num_rows, number(0, 1) == 0 ? 1 : number(0, 90), number(0, 3000)));
      num_rows += chunks.back().num_rows;
    }
    const AttentionPlan plan = plan_of(chunks, number(1, 8), group, number(1, 200));
    std::map<std::pair<int32_t, int32_t>, int> computed;  // by (tile row of the batch, split)
    std::map<int32_t, int> taken;                         // units of the workspace
    const auto count = [&](const std::vector<AttentionItem>& items, int32_t rows_of_tile) {
      for (const AttentionItem& item : items) {
        const int32_t end = std::min(item.first_tile_row + rows_of_tile, item.num_rows * group);
        for (int32_t row = item.first_tile_row; row < end; ++row) {
          for (int32_t split = item.first_split; split < item.end_split; ++split) {
            ++computed[{item.first_row * group + row, split}];
          }
        }
        if (item.partial == kToOutput) continue;
        for (int32_t unit = 0; unit < rows_of_tile / kUnitRows; ++unit) ++taken[item.partial + unit];
      }
    };
    count(plan.narrow, kUnitRows);
    count(plan.wide, kWideRows);
    for (const AttentionChunk& c : chunks) {
      for (int32_t row = 0; row < c.num_rows * group; ++row) {
        const int32_t num_splits = (c.start_position + row / group) / kSplitKeys + 1;
        for (int32_t split = 0; split < num_splits; ++split) {
          EXPECT_EQ((computed[{c.first_row * group + row, split}]), 1);
        }
      }
    }
    EXPECT_EQ(static_cast<int32_t>(taken.size()), plan.num_partials);
    for (const auto& [unit, times] : taken) EXPECT_EQ(times, 1) << unit;
  }
}

}  // namespace
}  // namespace octet::kernels::cuda
