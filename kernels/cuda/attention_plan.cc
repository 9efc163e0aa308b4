#include "kernels/cuda/attention_plan.h"

#include <algorithm>
#include <bit>

namespace octet::kernels::cuda {
namespace {

int32_t divide_up(int32_t a, int32_t b) {
  return (a + b - 1) / b;
}

class Planner {
 public:
  Planner(int32_t num_kv_heads, int32_t group, int32_t num_multiprocessors, AttentionPlan& plan)
      : num_kv_heads_(num_kv_heads), group_(group), num_multiprocessors_(num_multiprocessors), plan_(plan) {}

  void add(const AttentionChunk& chunk, int32_t first_block) {
    const int32_t num_tile_rows = chunk.num_rows * group_;
    const bool is_narrow = num_tile_rows <= kUnitRows;
    const int32_t rows_of_tile = is_narrow ? kUnitRows : kWideRows;
    const int32_t num_tiles = divide_up(num_tile_rows, rows_of_tile);
    // A narrow tile is a decode, whose splits all the device shares.
    const bool divides = is_narrow || num_tiles * num_kv_heads_ < num_multiprocessors_;
    for (int32_t tile = 0; tile < num_tiles; ++tile) {
      const int32_t first_tile_row = tile * rows_of_tile;
      const int32_t last_token = (std::min(first_tile_row + rows_of_tile, num_tile_rows) - 1) / group_;
      const int32_t num_splits = divide_up(chunk.start_position + last_token + 1, kSplitKeys);
      AttentionItem item = {.first_row = chunk.first_row,
                            .num_rows = chunk.num_rows,
                            .start_position = chunk.start_position,
                            .first_block = first_block,
                            .first_tile_row = first_tile_row,
                            .first_split = 0,
                            .end_split = num_splits,
                            .partial = kToOutput};
      add_tile(item, rows_of_tile, divides);
    }
  }

 private:
  void add_tile(AttentionItem item, int32_t rows_of_tile, bool divides) {
    std::vector<AttentionItem>& items = rows_of_tile == kUnitRows ? plan_.narrow : plan_.wide;
    const int32_t num_units = rows_of_tile / kUnitRows;
    const int32_t num_splits = item.end_split;
    if (num_splits == 1) {
      items.push_back(item);
      return;
    }
    item.partial = plan_.num_partials;
    if (!divides) {
      plan_.num_partials += num_units;
      items.push_back(item);
      return;
    }
    for (int32_t unit = 0; unit < num_units; ++unit) {
      const int32_t first_tile_row = item.first_tile_row + unit * kUnitRows;
      if (first_tile_row >= item.num_rows * group_) break;
      plan_.merges.push_back({.first_row = item.first_row,
                              .num_rows = item.num_rows,
                              .first_tile_row = first_tile_row,
                              .num_splits = num_splits,
                              .first_partial = item.partial + unit,
                              .stride = num_units});
    }
    for (int32_t split = 0; split < num_splits; ++split) {
      item.first_split = split;
      item.end_split = split + 1;
      item.partial = plan_.num_partials;
      plan_.num_partials += num_units;
      items.push_back(item);
    }
  }

  const int32_t num_kv_heads_;
  const int32_t group_;
  const int32_t num_multiprocessors_;
  AttentionPlan& plan_;
};

}  // namespace

void AttentionPlan::clear() {
  narrow.clear();
  wide.clear();
  merges.clear();
  num_partials = 0;
}

void plan_attention(std::span<const AttentionChunk> chunks, int32_t num_kv_heads, int32_t group,
                    int32_t num_multiprocessors, AttentionPlan& plan) {
  plan.clear();
  Planner planner(num_kv_heads, group, num_multiprocessors, plan);
  int32_t first_block = 0;
  for (const AttentionChunk& chunk : chunks) {
    if (chunk.num_rows > 0) planner.add(chunk, first_block);
    first_block += static_cast<int32_t>(chunk.block_table.size());
  }
}

void round_up(AttentionPlan& plan) {
  if (!plan.narrow.empty()) plan.narrow.resize(std::bit_ceil(plan.narrow.size()), AttentionItem{});
  if (!plan.wide.empty()) plan.wide.resize(std::bit_ceil(plan.wide.size()), AttentionItem{});
  if (!plan.merges.empty()) plan.merges.resize(std::bit_ceil(plan.merges.size()), AttentionMerge{});
}

std::string to_text(const AttentionPlan& plan) {
  return std::to_string(plan.narrow.size()) + " narrow, " + std::to_string(plan.wide.size()) + " wide, " +
         std::to_string(plan.merges.size()) + " merged, " + std::to_string(plan.num_partials) + " partial";
}

}  // namespace octet::kernels::cuda
