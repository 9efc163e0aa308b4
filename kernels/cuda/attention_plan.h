// How the rows of a batch's attention are divided over a device's blocks: a value, made on the host.
//
// The rows of a tile are pairs of a chunk's token and a query head of the KV head: tile row r is token
// r / group and head r % group, group = num_heads / num_kv_heads. So the heads of a decode that share a KV
// head fill one tile, and read its keys once.
//
// Keys are computed in splits of kSplitKeys positions, from position 0, whoever computes them; the results of
// a row's splits are merged in their order. A row's bits therefore do not depend on the plan.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace octet::kernels::cuda {

constexpr int32_t kSplitKeys = 512;
constexpr int32_t kUnitRows = 16;  // rows of a narrow tile, and of a place for partial results
constexpr int32_t kWideRows = 64;  // rows of a wide tile

// What a block computes for each KV head.
struct AttentionItem {
  int32_t first_row;       // of the chunk, in the batch
  int32_t num_rows;        // of the chunk
  int32_t start_position;  // of the chunk
  int32_t first_block;     // where the chunk's block table begins in the batch's
  int32_t first_tile_row;  // of the chunk's num_rows * group
  int32_t first_split;
  int32_t end_split;
  // kToOutput; else the unit of the workspace where one split's result goes, or where a block that computes
  // several keeps what it has so far. A wide tile takes four units.
  int32_t partial;
};
constexpr int32_t kToOutput = -1;

// Partial results of kUnitRows rows to be merged.
struct AttentionMerge {
  int32_t first_row;  // of the chunk, in the batch
  int32_t num_rows;   // of the chunk
  int32_t first_tile_row;
  int32_t num_splits;
  int32_t first_partial;  // unit of the first split
  int32_t stride;         // units from one split to the next
};

struct AttentionPlan {
  std::vector<AttentionItem> narrow;  // tiles of kUnitRows rows
  std::vector<AttentionItem> wide;    // tiles of kWideRows rows
  std::vector<AttentionMerge> merges;
  int32_t num_partials = 0;  // units of the workspace, for each KV head

  void clear();  // and keeps the capacity
};

// chunks: as Backend::paged_attention() has them; group: query heads of a KV head. A chunk whose rows fill no
// narrow tile is computed in wide ones. Where the tiles are fewer than the device's multiprocessors, each
// split is an item of its own.
void plan_attention(std::span<const AttentionChunk> chunks, int32_t num_kv_heads, int32_t group,
                    int32_t num_multiprocessors, AttentionPlan& plan);

// Adds items and merges of no rows, which end at once, to the next powers of two, so that plans of batches
// that differ little have the same sizes.
void round_up(AttentionPlan& plan);

// Such as "3 narrow, 1 wide, 3 merged, 12 partial": for logs and tests.
std::string to_text(const AttentionPlan& plan);

}  // namespace octet::kernels::cuda
