#include "kernels/cuda/sample_plan.h"

#include <gtest/gtest.h>

#include <cmath>

namespace octet::kernels::cuda {
namespace {

TEST(SamplePlan, PutsEditsAndMasksOfAllRowsOneAfterTheOther) {
  const LogitEdit edits[] = {{.token = 3}, {.token = 5}, {.token = 9}};
  const uint32_t mask[] = {1, 2};
  std::vector<SampleRow> rows(3);
  rows[0].edits = std::span(edits).first(1);
  rows[1].allowed = mask;
  rows[2].edits = std::span(edits).last(2);
  rows[2].allowed = mask;
  SamplePlan plan;
  plan_samples(rows, plan);
  EXPECT_EQ(to_text(plan), "3 rows, 3 edits, 4 words of masks");
  EXPECT_EQ(plan.rows[0].first_word, kAllAllowed);
  EXPECT_EQ(plan.rows[1].num_edits, 0u);
  EXPECT_EQ(plan.rows[1].first_word, 0u);
  EXPECT_EQ(plan.rows[2].first_edit, 1u);
  EXPECT_EQ(plan.rows[2].num_edits, 2u);
  EXPECT_EQ(plan.rows[2].first_word, 2u);
  plan_samples({}, plan);
  EXPECT_EQ(to_text(plan), "0 rows, 0 edits, 0 words of masks");
}

TEST(SamplePlan, TellsWhatIsAskedForFromWhatIsNot) {
  std::vector<SampleRow> rows(3);
  rows[1].num_top = 0;
  rows[2].scored_token = 7;
  rows[2].num_top = 5;
  SamplePlan plan;
  plan_samples(rows, plan);
  EXPECT_EQ(plan.rows[0].wants_scores, 0u);
  EXPECT_EQ(plan.rows[1].wants_scores, 1u);
  EXPECT_EQ(plan.rows[1].chooses, 1u);
  EXPECT_EQ(plan.rows[2].chooses, 0u);
  EXPECT_EQ(plan.rows[2].scored_token, 7u);
  EXPECT_EQ(plan.rows[2].num_top, 5u);
}

TEST(SampleShape, HasAThreadForEightTokensAndSumsThatFit) {
  EXPECT_EQ(shape_of(1).threads, 64u);
  EXPECT_EQ(shape_of(1600).threads, 256u);
  EXPECT_EQ(shape_of(256000).threads, 512u);
  EXPECT_EQ(shape_of(1).id_bits, 0u);
  EXPECT_EQ(shape_of(2).id_bits, 1u);
  EXPECT_EQ(shape_of(1024).id_bits, 10u);
  EXPECT_EQ(shape_of(1025).id_bits, 11u);
  EXPECT_EQ(shape_of(256000).unit, 0x1p45);
  for (const int64_t vocab_size : {1, 2, 3, 1024, 256000, 1 << 30}) {
    EXPECT_LT(shape_of(vocab_size).unit * static_cast<double>(vocab_size), 0x1p63) << vocab_size;
  }
}

}  // namespace
}  // namespace octet::kernels::cuda
