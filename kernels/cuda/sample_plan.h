// What the blocks of sample() are told, as values that the host makes: the rows, the edits and bit masks of
// all of them one after the other, and what follows from the size of the vocabulary.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/sample_row.h"

namespace octet::kernels::cuda {

// A SampleRow without pointers to the host's memory. Fields as there.
struct PlannedRow {
  uint64_t seed;
  uint32_t choice_index;
  uint32_t position;
  float temperature;
  uint32_t top_k;
  float top_p;
  float min_p;
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
  uint32_t always_divides;
  uint32_t first_edit;  // in the plan's
  uint32_t num_edits;
  uint32_t first_word;  // of its mask in the plan's; kAllAllowed: it has none
  uint32_t scored_token;
  uint32_t num_top;
  uint32_t chooses;       // else scored_token is scored
  uint32_t wants_scores;  // log-probabilities
  uint32_t unused;        // no padding, which would make equal rows differ
};
static_assert(sizeof(PlannedRow) == 80);
constexpr uint32_t kAllAllowed = UINT32_MAX;

// What a block answers. Fields as in SampledToken; num_top alternatives are set.
struct RowResult {
  bool is_finite;
  uint32_t token;
  float logprob;
  uint32_t num_top;
  uint32_t top_tokens[kMaxTopTokens];
  float top_logprobs[kMaxTopTokens];
};
SampledToken sampled_token(const RowResult& result);

struct SamplePlan {
  std::vector<PlannedRow> rows;
  std::vector<LogitEdit> edits;
  std::vector<uint32_t> masks;

  void clear();  // and keeps the capacity
};
void plan_samples(std::span<const SampleRow> rows, SamplePlan& plan);

// Such as "3 rows, 5 edits, 2 words of masks": for logs and tests.
std::string to_text(const SamplePlan& plan);

// What a vocabulary asks for, whatever the batch is.
struct SampleShape {
  uint32_t vocab_size;
  unsigned int threads;  // of a block, which samples one row
  unsigned int id_bits;  // 0 to vocab_size - 1 fit into them
  double unit;           // the largest weight, a power of two that lets a row's sum fit into 63 bits
};
SampleShape shape_of(int64_t vocab_size);

}  // namespace octet::kernels::cuda
