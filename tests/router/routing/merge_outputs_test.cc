#include "router/routing/merge_outputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>

namespace octet::router {
namespace {

using ::testing::ElementsAre;

v1::SequenceOutput& add(v1::SubmitResponse& response, uint64_t sequence_id,
                        std::initializer_list<uint32_t> tokens) {
  v1::SequenceOutput& output = *response.add_outputs();
  output.set_sequence_id(sequence_id);
  for (const uint32_t token : tokens) output.add_tokens()->set_token_id(token);
  return output;
}

std::vector<uint32_t> tokens(const v1::SequenceOutput& output) {
  std::vector<uint32_t> ids;
  for (const v1::ScoredToken& token : output.tokens()) ids.push_back(token.token_id());
  return ids;
}

TEST(MergeOutputsTest, LeavesOneStepAsItIs) {
  v1::SubmitResponse response;
  add(response, 7, {1, 2});
  const std::string before = response.SerializeAsString();
  EXPECT_EQ(in_one({response}).SerializeAsString(), before);
}

TEST(MergeOutputsTest, PutsTheStepsOfASequenceTogetherInOrder) {
  std::vector<v1::SubmitResponse> steps(3);
  v1::SequenceOutput& first = add(steps[0], 7, {1});
  first.set_cached_tokens(16);
  first.add_prompt_logprobs()->set_token_id(90);
  add(steps[0], 8, {11});
  add(steps[1], 9, {21});
  add(steps[1], 7, {2, 3});
  v1::SequenceOutput& failed = add(steps[2], 8, {});
  failed.set_error_code(13);
  failed.set_error_message("why");
  v1::SequenceOutput& last = add(steps[2], 7, {4});
  last.set_finish_reason(v1::FINISH_REASON_STOP);
  last.mutable_tokens(0)->set_logprob(-0.5F);

  add(steps.emplace_back(), 7, {5});  // after its end: nobody hears of it

  const v1::SubmitResponse one = in_one(std::move(steps));
  ASSERT_EQ(one.outputs_size(), 3);
  EXPECT_EQ(one.outputs(0).sequence_id(), 7u);
  EXPECT_THAT(tokens(one.outputs(0)), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(one.outputs(0).tokens(3).logprob(), -0.5F);
  EXPECT_EQ(one.outputs(0).cached_tokens(), 16u);
  EXPECT_EQ(one.outputs(0).prompt_logprobs_size(), 1);
  EXPECT_EQ(one.outputs(0).finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(one.outputs(1).sequence_id(), 8u);
  EXPECT_THAT(tokens(one.outputs(1)), ElementsAre(11));
  EXPECT_EQ(one.outputs(1).error_code(), 13);
  EXPECT_EQ(one.outputs(1).error_message(), "why");
  EXPECT_EQ(one.outputs(2).sequence_id(), 9u);
  EXPECT_THAT(tokens(one.outputs(2)), ElementsAre(21));
}

}  // namespace
}  // namespace octet::router
